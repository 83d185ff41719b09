"""Expansion of a grammar with saved texts and modifiers into a context-free grammar.

A rule becomes one symbol for each state (the saved texts that it depends on) before and after it,
and for each sequence of modifiers applied to it. The set of texts that can be saved must be
bounded. A modifier that changes only the beginning of a text is passed on to the first symbol of
each alternative, and so on down to a text; one that cannot be passed on is applied to every text of
the rule, if they are few enough.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import NamedTuple, TypeAlias

from wenmo.grammar.articles import ends_word, is_decided
from wenmo.grammar.ast import Action, Call, Evaluate, Grammar, Node, Pop, Save
from wenmo.grammar.checks import saved_names
from wenmo.grammar.derivation import conditions_hold
from wenmo.grammar.fixpoint import IntractableError
from wenmo.grammar.modifiers import Modifier
from wenmo.grammar.states import (
    State,
    merge_states,
    min_lengths,
    restrict,
    saved_dependencies,
    with_stack,
)

MAX_PRODUCTIONS = 100_000
MAX_TEXTS = 20_000  # of a rule, where they are enumerated
MAX_CHARACTERS = 500_000  # of all productions
MAX_TOTAL_CHARACTERS = 20_000_000  # characters of all enumerated texts
MAX_MODIFIERS = 20  # of a symbol
MAX_STACK = 20  # texts saved under a name
MARK = "\0"  # stands for the text in "around" modifiers


class AppliedModifier(NamedTuple):
    """A modifier applied to a symbol, and whether a word ends where the symbol's text does."""

    modifier: Modifier
    at_word_end: bool


class Symbol(NamedTuple):
    """A rule with its states before and after, and modifiers; or a choice of saved texts."""

    rule: str
    before: State = ()
    after: State = ()
    modifiers: tuple[AppliedModifier, ...] = ()
    texts: tuple[str, ...] = ()


class AlternativeChoice(NamedTuple):
    """An alternative chosen from candidates, as indices into all alternatives of the grammar."""

    alternative: int
    candidates: tuple[int, ...]


Body: TypeAlias = "tuple[str | Symbol, ...]"


class PartialDerivation(NamedTuple):
    """What a sequence of nodes derives: texts, and symbols that are not expanded further.

    Attributes:
        body: texts and symbols, in order.
        choices: indices of the choices of alternatives that were made.
        factor: factor of its probability besides those choices.
        state: the saved texts after it.
    """

    body: Body
    choices: tuple[int, ...] = ()
    factor: float = 1.0
    state: State = ()

    def then(self, other: PartialDerivation) -> PartialDerivation:
        """This derivation, followed by one with an empty body."""
        choices = self.choices + other.choices
        return PartialDerivation(self.body, choices, self.factor * other.factor, other.state)


class Production(NamedTuple):
    """A context-free production; symbols are numbered."""

    head: int
    body: tuple[str | int, ...]
    choices: tuple[int, ...]
    factor: float


@dataclass(frozen=True)
class ExpandedGrammar:
    """A context-free grammar equivalent to a grammar with saved texts and modifiers.

    Attributes:
        productions: all productions; the start symbol is 0.
        choices: the choices of alternatives that the productions refer to.
        rules: display name of the rule of each symbol; empty for saved texts.
    """

    productions: list[Production]
    choices: list[AlternativeChoice]
    rules: list[str]


def expand(grammar: Grammar) -> ExpandedGrammar:
    """Expand a grammar into a context-free one.

    Raises:
        IntractableError: impossible, or too large.
    """
    try:
        return _Expander(grammar).expand()
    except RecursionError:
        raise IntractableError(
            "rules whose texts are saved or modified are nested too deeply"
        ) from None


class _Expander:
    def __init__(self, grammar: Grammar) -> None:
        self.grammar = grammar
        self.saved_names = frozenset(saved_names(grammar))
        self.reads, self.writes = saved_dependencies(grammar, self.saved_names)
        self.min_lengths = min_lengths(grammar, self.saved_names)
        self.indices: dict[str, list[int]] = {}
        for name, rule in grammar.rules.items():
            first = sum(map(len, self.indices.values()))
            self.indices[name] = list(range(first, first + len(rule)))
        self.choices: dict[AlternativeChoice, int] = {}
        self.rule_cache: dict[tuple[str, State], list[PartialDerivation] | None] = {}
        self.text_cache: dict[Symbol, list[PartialDerivation] | None] = {}
        self._characters = 0

    def expand(self) -> ExpandedGrammar:
        saved = {name: ((text,),) for name, text in self.grammar.saved.items()}
        start = self._expand_name(self.grammar.start, tuple(sorted(saved.items())), ())
        todo, symbols = [Symbol("")], {Symbol(""): 0}
        productions: list[Production] = []
        characters = 0
        while todo:
            symbol = todo.pop()
            derivations = self._expand_symbol(symbol) if symbol.rule or symbol.texts else start
            for derivation in derivations:
                body = []
                for item in derivation.body:
                    if not item:
                        continue
                    if isinstance(item, Symbol) and item not in symbols:
                        symbols[item] = len(symbols)
                        todo.append(item)
                    body.append(item if isinstance(item, str) else symbols[item])
                    characters += len(item) if isinstance(item, str) else 1
                production = Production(
                    symbols[symbol], tuple(body), derivation.choices, derivation.factor
                )
                productions.append(production)
            if len(productions) > MAX_PRODUCTIONS or characters > MAX_CHARACTERS:
                raise IntractableError("expanded for all saved and modified texts, it is too large")
        rules = [self.grammar.display_name(symbol.rule) for symbol in symbols]
        rules[0] = self.grammar.display_name(self.grammar.start)
        return ExpandedGrammar(productions, list(self.choices), rules)

    # -- expanding symbols ----------------------------------------------------------------------

    def _expand_symbol(self, symbol: Symbol) -> list[PartialDerivation]:
        if symbol.texts:
            return [
                PartialDerivation((text,), factor=1 / len(symbol.texts)) for text in symbol.texts
            ]
        derivations = [
            derivation
            for derivation in self._expand_rule(symbol.rule, symbol.before)
            if restrict(derivation.state, self.writes[symbol.rule]) == symbol.after
        ]
        if not symbol.modifiers:
            return derivations
        try:
            return [
                derivation._replace(body=self._apply_modifiers(derivation.body, symbol.modifiers))
                for derivation in derivations
            ]
        except IntractableError:
            unmodified = self._enumerate_symbol(symbol._replace(modifiers=()))
            return [
                derivation._replace(
                    body=(_apply_modifiers(str(derivation.body[0]), symbol.modifiers),)
                )
                for derivation in unmodified
            ]

    def _expand_rule(self, rule: str, state: State) -> list[PartialDerivation]:
        """The derivations of a rule from a state, whatever state they end in."""
        key = rule, state
        if key in self.rule_cache:
            found = self.rule_cache[key]
            if found is None:
                raise IntractableError(f"rule {rule!r} saves texts and is recursive")
            return found
        self.rule_cache[key] = None
        alternatives = self.grammar.rules[rule]
        saved = dict(state)
        allowed = [
            at
            for at, a in enumerate(alternatives)
            if a.weight and conditions_hold(a.conditions, saved)
        ]
        if not allowed:
            raise IntractableError(
                f"rule {rule!r} may be called where the conditions of all its alternatives fail"
            )
        candidates = tuple(self.indices[rule][at] for at in allowed)
        derivations: list[PartialDerivation] = []
        for at, index in zip(allowed, candidates, strict=True):
            choice = self.choices.setdefault(
                AlternativeChoice(index, candidates), len(self.choices)
            )
            derivations += self._expand_nodes(
                alternatives[at].nodes, PartialDerivation((), (choice,), 1.0, state)
            )
            self._check_count(len(derivations))
        self.rule_cache[key] = derivations
        return derivations

    def _expand_nodes(
        self, nodes: Sequence[Node], start: PartialDerivation
    ) -> list[PartialDerivation]:
        """The derivations that extend one by nodes, in order."""
        derivations = [start]
        for item in nodes:
            if isinstance(item, str):
                derivations = [
                    derivation._replace(body=_merge_texts(*derivation.body, item))
                    for derivation in derivations
                ]
            elif isinstance(item, Call):
                derivations = [
                    after
                    for derivation in derivations
                    for after in self._expand_call(item, derivation)
                ]
            elif isinstance(item, Save | Pop | Evaluate):
                derivations = [
                    after
                    for derivation in derivations
                    for after in self._run_action(item, derivation)
                ]
            self._check_count(len(derivations))
        return derivations

    def _expand_call(
        self, call: Call, derivation: PartialDerivation
    ) -> Iterator[PartialDerivation]:
        derivations = [derivation]
        for action in call.actions:
            derivations = [
                after
                for derivation in derivations
                for after in self._run_action(action, derivation)
            ]
        popped = [action.name for action in call.actions if isinstance(action, Save)]
        modifiers = tuple(AppliedModifier(modifier, True) for modifier in call.modifiers)
        for derivation in derivations:
            for called in self._expand_name(call.symbol, derivation.state, modifiers):
                state = called.state
                for name in popped:
                    state = with_stack(state, name, dict(state).get(name, ())[:-1])
                yield PartialDerivation(
                    _merge_texts(*derivation.body, *called.body),
                    derivation.choices,
                    derivation.factor,
                    state,
                )

    def _expand_name(
        self, name: str, state: State, modifiers: tuple[AppliedModifier, ...]
    ) -> list[PartialDerivation]:
        """The derivations of a call by name in a state."""
        stack = dict(state).get(name)
        if stack:
            texts = tuple(_apply_modifiers(text, modifiers) for text in stack[-1])
            body: Body = texts if len(texts) == 1 else (Symbol("", texts=texts),)
            return [PartialDerivation(body, state=state)]
        if not name:
            return [PartialDerivation((), state=state)]
        if name not in self.grammar.rules:
            raise IntractableError(f"#{name}# may be called before anything is saved under it")
        before, writes = restrict(state, self.reads[name]), self.writes[name]
        afters = {restrict(state, writes)}
        if writes:
            afters = {
                restrict(derivation.state, writes) for derivation in self._expand_rule(name, before)
            }
        return [
            PartialDerivation(
                (Symbol(name, before, after, modifiers),), state=merge_states(state, writes, after)
            )
            for after in sorted(afters)
        ]

    def _run_action(
        self, action: Action, derivation: PartialDerivation
    ) -> Iterator[PartialDerivation]:
        if isinstance(action, Pop):
            stack = dict(derivation.state).get(action.name, ())
            yield derivation._replace(state=with_stack(derivation.state, action.name, stack[:-1]))
        elif isinstance(action, Evaluate):
            for item in self._enumerate_nodes(action.nodes, derivation.state):
                yield PartialDerivation(
                    derivation.body,
                    derivation.choices + item.choices,
                    derivation.factor * item.factor,
                    item.state,
                )
        else:
            for texts, after in self._value_combinations(action.values, derivation):
                stack = (*dict(after.state).get(action.name, ()), texts)
                if len(stack) > MAX_STACK:
                    raise IntractableError(f"texts are saved under {action.name!r} without bound")
                yield after._replace(state=with_stack(after.state, action.name, stack))

    def _value_combinations(
        self, values: Sequence[Sequence[Node]], derivation: PartialDerivation
    ) -> list[tuple[tuple[str, ...], PartialDerivation]]:
        """The combinations of texts that values can have, with the derivations that lead to
        them.
        """
        found: list[tuple[tuple[str, ...], PartialDerivation]] = [((), derivation)]
        for value in values:
            found = [
                ((*texts, str(item.body[0])), derivation.then(item))
                for texts, derivation in found
                for item in self._enumerate_nodes(value, derivation.state)
            ]
            self._check_count(len(found))
        return found

    # -- enumerating texts ----------------------------------------------------------------------

    def _enumerate_nodes(self, nodes: Sequence[Node], state: State) -> list[PartialDerivation]:
        """Every text of a sequence of nodes; the body of each derivation is one text."""
        return [
            text
            for derivation in self._expand_nodes(nodes, PartialDerivation((), state=state))
            for text in self._enumerate(derivation)
        ]

    def _enumerate_symbol(self, symbol: Symbol) -> list[PartialDerivation]:
        if symbol not in self.text_cache:
            self.text_cache[symbol] = None
            derivations = self._expand_symbol(symbol)
            self.text_cache[symbol] = [
                text for derivation in derivations for text in self._enumerate(derivation)
            ]
        found = self.text_cache[symbol]
        if found is None:
            raise IntractableError(
                f"rule {symbol.rule!r} has infinitely many texts, and they are saved or modified"
            )
        self._check_count(len(found))
        return found

    def _enumerate(self, derivation: PartialDerivation) -> list[PartialDerivation]:
        options = [
            [PartialDerivation((item,))] if isinstance(item, str) else self._enumerate_symbol(item)
            for item in derivation.body
        ]
        count = 1
        for option in options:
            count *= len(option)
            self._check_count(count)
        found = []
        for chosen in product(*options):
            text = _check_length("".join(str(item.body[0]) for item in chosen))
            self._check_total(len(text))
            choices, factor = derivation.choices, derivation.factor
            for item in chosen:
                choices, factor = choices + item.choices, factor * item.factor
            found.append(PartialDerivation((text,), choices, factor, derivation.state))
        return found

    def _check_count(self, count: int) -> None:
        if count > MAX_TEXTS:
            raise IntractableError(f"more than {MAX_TEXTS:,} texts can be saved or modified")

    def _check_total(self, characters: int) -> None:
        self._characters += characters
        if self._characters > MAX_TOTAL_CHARACTERS:
            raise IntractableError("the texts that can be saved or modified are too long in all")

    # -- passing modifiers on --------------------------------------------------------------------

    def _apply_modifiers(self, body: Body, modifiers: Sequence[AppliedModifier]) -> Body:
        for applied in modifiers:
            body = _merge_texts(*self._pass_on(body, applied))
        return body

    def _pass_on(self, body: Body, applied: AppliedModifier) -> Body:
        """A body with a modifier passed on to its first or last item, or to each, or text put
        around it.
        """
        modifier, scope = applied.modifier, applied.modifier.type.scope
        if not body:
            return (modifier(""),)
        if scope == "characters":
            return tuple(self._modify_item(item, modifier, True) for item in body)
        if scope == "around":
            before, after = modifier(MARK).split(MARK)
            return (before, *body, after)
        if scope == "text":
            raise IntractableError(f"modifier {modifier.name!r} depends on the whole text")
        is_alone = len(body) == 1 and applied.at_word_end
        if scope == "prefix":
            first, *rest = body
            ends = is_alone or (bool(rest) and isinstance(rest[0], str) and ends_word(rest[0][0]))
            return (self._modify_item(first, modifier, ends), *rest)
        *rest, last = body
        return (*rest, self._modify_item(last, modifier, is_alone))

    def _modify_item(
        self, item: str | Symbol, modifier: Modifier, at_word_end: bool
    ) -> str | Symbol:
        """An item of a body with a modifier applied, if its neighbours do not matter."""
        lookahead = modifier.type.lookahead
        if isinstance(item, str):
            decided = modifier.type.scope == "prefix" and is_decided(item)
            if at_word_end or len(item) >= lookahead or decided:
                return _check_length(modifier(item))
        elif at_word_end or self._min_length(item) >= lookahead:
            if item.texts:
                return item._replace(texts=tuple(modifier(text) for text in item.texts))
            return _add_modifier(item, AppliedModifier(modifier, at_word_end))
        raise IntractableError(f"modifier {modifier.name!r} depends on more than one symbol")

    def _min_length(self, symbol: Symbol) -> int:
        return min(map(len, symbol.texts)) if symbol.texts else self.min_lengths[symbol.rule]


def _add_modifier(symbol: Symbol, applied: AppliedModifier) -> Symbol:
    """The symbol with one more modifier."""
    if applied.modifier.type.idempotent and symbol.modifiers[-1:] == (applied,):
        return symbol
    if len(symbol.modifiers) == MAX_MODIFIERS:
        raise IntractableError(
            f"modifier {applied.modifier.name!r} is applied recursively without bound"
        )
    return symbol._replace(modifiers=(*symbol.modifiers, applied))


def _apply_modifiers(text: str, modifiers: Sequence[AppliedModifier]) -> str:
    for applied in modifiers:
        text = _check_length(applied.modifier(text))
    return text


def _check_length(text: str) -> str:
    """The text, if it is short enough: saving a text and calling it twice, repeatedly, grows
    exponentially.
    """
    if len(text) > MAX_CHARACTERS:
        raise IntractableError("a saved or modified text is too long")
    return text


def _merge_texts(*items: str | Symbol) -> Body:
    """A body with adjacent texts merged and empty ones dropped."""
    found: list[str | Symbol] = []
    for item in items:
        if isinstance(item, str) and found and isinstance(found[-1], str):
            found[-1] += item
        elif item != "":
            found.append(item)
    return tuple(found)

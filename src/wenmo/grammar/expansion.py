"""A grammar written out as a context-free one over texts: what is saved, and what modifies, becomes
part of the symbols.

A rule is parted into one symbol for each state (what is saved, as far as it matters to the rule)
that it may begin and end in, and for each row of modifiers that is asked of it. What is saved must
be one of a bounded number of texts. A modifier that looks at the first characters alone is handed
on to the first part of each alternative, and so on down to a text; one that cannot be handed on is
done to every text that the rule can write, if these are not too many.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import NamedTuple, TypeAlias

from wenmo.grammar.articles import ends_word, is_decided
from wenmo.grammar.ast import Action, Call, Do, Forget, Grammar, Part, Save
from wenmo.grammar.checks import saved_names
from wenmo.grammar.fixpoint import Beyond
from wenmo.grammar.modifiers import Modifier
from wenmo.grammar.states import State, effects, merged, only, put, shortest
from wenmo.grammar.writing import holds

MOST_PRODUCTIONS = 100_000
MOST_TEXTS = 20_000  # that a rule may write, where each must be looked at
MOST_CHARACTERS = 500_000  # of all productions
MOST_SPENT = 20_000_000  # characters of all texts that are looked at on the way
MOST_MODIFIERS = 20  # of one symbol
TALLEST_STACK = 20  # texts that are saved under one name at once
HERE = "\0"


class Asked(NamedTuple):
    """A modifier that is asked of a symbol, and whether a word ends where its text does."""

    modifier: Modifier
    bounded: bool


class Symbol(NamedTuple):
    """A rule in a state, modified; or, without a rule, one of a few texts."""

    rule: str
    before: State = ()
    after: State = ()
    modifiers: tuple[Asked, ...] = ()
    texts: tuple[str, ...] = ()


class Taking(NamedTuple):
    """An alternative taken from among those that may be: their numbers in the grammar's order."""

    alternative: int
    among: tuple[int, ...]


Body: TypeAlias = "tuple[str | Symbol, ...]"


class Way(NamedTuple):
    """One way to write something.

    Attributes:
        body: texts and symbols, one after another.
        takings: the alternatives that are taken for it, by their numbers.
        share: what its probability is to be multiplied by.
        state: what is saved after it.
    """

    body: Body
    takings: tuple[int, ...] = ()
    share: float = 1.0
    state: State = ()

    def then(self, other: Way) -> Way:
        """This way, and after it one that writes nothing."""
        takings = self.takings + other.takings
        return Way(self.body, takings, self.share * other.share, other.state)


class Production(NamedTuple):
    """A symbol becomes texts and symbols, which are numbers."""

    head: int
    body: tuple[str | int, ...]
    takings: tuple[int, ...]
    share: float


@dataclass(frozen=True)
class Expansion:
    """A grammar written out.

    Attributes:
        productions: each with a head and a body; the start is symbol 0.
        takings: the alternatives that the productions take.
        rules: the rule that each symbol belongs to, as it is shown; empty for saved texts.
    """

    productions: list[Production]
    takings: list[Taking]
    rules: list[str]


def expand(grammar: Grammar) -> Expansion:
    """Write a grammar out.

    Raises:
        Beyond: it cannot be done, or would be too large.
    """
    try:
        return _Expander(grammar).whole()
    except RecursionError:
        raise Beyond("what is saved or modified calls rules too deep within one another") from None


class _Expander:
    def __init__(self, grammar: Grammar) -> None:
        self.grammar = grammar
        self.dynamic = frozenset(saved_names(grammar))
        self.touched, self.written = effects(grammar, self.dynamic)
        self.shortest = shortest(grammar, self.dynamic)
        self.numbers: dict[str, list[int]] = {}
        for name, rule in grammar.rules.items():
            first = sum(map(len, self.numbers.values()))
            self.numbers[name] = list(range(first, first + len(rule)))
        self.takings: dict[Taking, int] = {}
        self.followed: dict[tuple[str, State], list[Way] | None] = {}
        self.listed: dict[Symbol, list[Way] | None] = {}
        self._spent = 0

    def whole(self) -> Expansion:
        saved = {name: ((text,),) for name, text in self.grammar.saved.items()}
        start = self._symbols(self.grammar.start, tuple(sorted(saved.items())), ())
        todo, symbols = [Symbol("")], {Symbol(""): 0}
        productions: list[Production] = []
        characters = 0
        while todo:
            symbol = todo.pop()
            ways = self._ways(symbol) if symbol.rule or symbol.texts else start
            for way in ways:
                body = []
                for part in way.body:
                    if not part:
                        continue
                    if isinstance(part, Symbol) and part not in symbols:
                        symbols[part] = len(symbols)
                        todo.append(part)
                    body.append(part if isinstance(part, str) else symbols[part])
                    characters += len(part) if isinstance(part, str) else 1
                made = Production(symbols[symbol], tuple(body), way.takings, way.share)
                productions.append(made)
            if len(productions) > MOST_PRODUCTIONS or characters > MOST_CHARACTERS:
                raise Beyond("written out for all that may be saved or modified, it is too large")
        rules = [self.grammar.shown(symbol.rule) for symbol in symbols]
        rules[0] = self.grammar.shown(self.grammar.start)
        return Expansion(productions, list(self.takings), rules)

    # -- the ways of a symbol --------------------------------------------------------------------

    def _ways(self, symbol: Symbol) -> list[Way]:
        if symbol.texts:
            return [Way((text,), share=1 / len(symbol.texts)) for text in symbol.texts]
        ways = [
            way
            for way in self._follow_rule(symbol.rule, symbol.before)
            if only(way.state, self.written[symbol.rule]) == symbol.after
        ]
        if not symbol.modifiers:
            return ways
        try:
            return [way._replace(body=self._modified(way.body, symbol.modifiers)) for way in ways]
        except Beyond:
            plain = self._texts(symbol._replace(modifiers=()))
            return [
                way._replace(body=(_modified(str(way.body[0]), symbol.modifiers),)) for way in plain
            ]

    def _follow_rule(self, rule: str, state: State) -> list[Way]:
        """The ways of a rule in a state, whatever state they end in."""
        key = rule, state
        if key in self.followed:
            found = self.followed[key]
            if found is None:
                raise Beyond(f"rule {rule!r} saves texts and comes back to itself")
            return found
        self.followed[key] = None
        alternatives = self.grammar.rules[rule]
        saved = dict(state)
        allowed = [at for at, a in enumerate(alternatives) if a.weight and holds(a.when, saved)]
        if not allowed:
            raise Beyond(f"rule {rule!r} may be called where none of its alternatives is allowed")
        among = tuple(self.numbers[rule][at] for at in allowed)
        ways: list[Way] = []
        for at, number in zip(allowed, among, strict=True):
            taking = self.takings.setdefault(Taking(number, among), len(self.takings))
            ways += self._follow(alternatives[at].parts, Way((), (taking,), 1.0, state))
            self._bound(len(ways))
        self.followed[key] = ways
        return ways

    def _follow(self, parts: Sequence[Part], begun: Way) -> list[Way]:
        """What may come of going on with parts, one after another."""
        ways = [begun]
        for part in parts:
            if isinstance(part, str):
                ways = [way._replace(body=_joined(*way.body, part)) for way in ways]
            elif isinstance(part, Call):
                ways = [after for way in ways for after in self._call(part, way)]
            elif isinstance(part, Save | Forget | Do):
                ways = [after for way in ways for after in self._act(part, way)]
            self._bound(len(ways))
        return ways

    def _call(self, call: Call, way: Way) -> Iterator[Way]:
        within = [way]
        for action in call.before:
            within = [after for each in within for after in self._act(action, each)]
        forgotten = [action.name for action in call.before if isinstance(action, Save)]
        modifiers = tuple(Asked(modifier, True) for modifier in call.modifiers)
        for each in within:
            for called in self._symbols(call.symbol, each.state, modifiers):
                state = called.state
                for name in forgotten:
                    state = put(state, name, dict(state).get(name, ())[:-1])
                yield Way(_joined(*each.body, *called.body), each.takings, each.share, state)

    def _symbols(self, name: str, state: State, modifiers: tuple[Asked, ...]) -> list[Way]:
        """What a call of a name may be in a state."""
        stack = dict(state).get(name)
        if stack:
            texts = tuple(_modified(text, modifiers) for text in stack[-1])
            body: Body = texts if len(texts) == 1 else (Symbol("", texts=texts),)
            return [Way(body, state=state)]
        if not name:
            return [Way((), state=state)]
        if name not in self.grammar.rules:
            raise Beyond(f"#{name}# may be called before anything is saved under it")
        before, written = only(state, self.touched[name]), self.written[name]
        afters = {only(state, written)}
        if written:
            afters = {only(way.state, written) for way in self._follow_rule(name, before)}
        return [
            Way((Symbol(name, before, after, modifiers),), state=merged(state, written, after))
            for after in sorted(afters)
        ]

    def _act(self, action: Action, way: Way) -> Iterator[Way]:
        if isinstance(action, Forget):
            stack = dict(way.state).get(action.name, ())
            yield way._replace(state=put(way.state, action.name, stack[:-1]))
        elif isinstance(action, Do):
            for done in self._listed(action.parts, way.state):
                yield Way(way.body, way.takings + done.takings, way.share * done.share, done.state)
        else:
            for texts, after in self._values(action.values, way):
                stack = (*dict(after.state).get(action.name, ()), texts)
                if len(stack) > TALLEST_STACK:
                    raise Beyond(f"texts are saved under {action.name!r} again and again")
                yield after._replace(state=put(after.state, action.name, stack))

    def _values(
        self, values: Sequence[Sequence[Part]], way: Way
    ) -> list[tuple[tuple[str, ...], Way]]:
        """The texts that may be saved, and what else comes of them."""
        found: list[tuple[tuple[str, ...], Way]] = [((), way)]
        for value in values:
            found = [
                ((*texts, str(said.body[0])), so_far.then(said))
                for texts, so_far in found
                for said in self._listed(value, so_far.state)
            ]
            self._bound(len(found))
        return found

    # -- where every text must be looked at ------------------------------------------------------

    def _listed(self, parts: Sequence[Part], state: State) -> list[Way]:
        """Every text that parts can write; the body of each way is one text."""
        return [
            text
            for way in self._follow(parts, Way((), state=state))
            for text in self._texts_of(way)
        ]

    def _texts(self, symbol: Symbol) -> list[Way]:
        if symbol not in self.listed:
            self.listed[symbol] = None
            ways = self._ways(symbol)
            self.listed[symbol] = [text for way in ways for text in self._texts_of(way)]
        found = self.listed[symbol]
        if found is None:
            raise Beyond(
                f"what rule {symbol.rule!r} writes has no end of texts, and is saved or modified"
            )
        self._bound(len(found))
        return found

    def _texts_of(self, way: Way) -> list[Way]:
        parts = [
            [Way((part,))] if isinstance(part, str) else self._texts(part) for part in way.body
        ]
        count = 1
        for part in parts:
            count *= len(part)
            self._bound(count)
        found = []
        for chosen in product(*parts):
            text = _short("".join(str(said.body[0]) for said in chosen))
            self._spend(len(text))
            takings, share = way.takings, way.share
            for said in chosen:
                takings, share = takings + said.takings, share * said.share
            found.append(Way((text,), takings, share, way.state))
        return found

    def _bound(self, count: int) -> None:
        if count > MOST_TEXTS:
            raise Beyond(f"more than {MOST_TEXTS:,} texts may be saved or modified")

    def _spend(self, characters: int) -> None:
        self._spent += characters
        if self._spent > MOST_SPENT:
            raise Beyond("what may be saved or modified is too much text")

    # -- handing modifiers on --------------------------------------------------------------------

    def _modified(self, body: Body, modifiers: Sequence[Asked]) -> Body:
        for asked in modifiers:
            body = _joined(*self._hand_on(body, asked))
        return body

    def _hand_on(self, body: Body, asked: Asked) -> Body:
        """A body modified: its first or last part is, or each, or something is put around it."""
        modifier, kind = asked.modifier, asked.modifier.kind
        if not body:
            return (modifier(""),)
        if kind.acts == "each":
            return tuple(self._part(part, modifier, True) for part in body)
        if kind.acts == "around":
            before, after = modifier(HERE).split(HERE)
            return (before, *body, after)
        if kind.acts == "whole":
            raise Beyond(f"modifier {modifier.name!r} looks at the whole text")
        alone = len(body) == 1 and asked.bounded
        if kind.acts == "first":
            first, *rest = body
            ends = alone or (bool(rest) and isinstance(rest[0], str) and ends_word(rest[0][0]))
            return (self._part(first, modifier, ends), *rest)
        *rest, last = body
        return (*rest, self._part(last, modifier, alone))

    def _part(self, part: str | Symbol, modifier: Modifier, bounded: bool) -> str | Symbol:
        """A part modified, if nothing beside it can matter."""
        reach = modifier.kind.reach
        if isinstance(part, str):
            decided = modifier.kind.acts == "first" and is_decided(part)
            if bounded or len(part) >= reach or decided:
                return _short(modifier(part))
        elif bounded or self._at_least(part) >= reach:
            if part.texts:
                return part._replace(texts=tuple(modifier(text) for text in part.texts))
            return _asked(part, Asked(modifier, bounded))
        raise Beyond(f"modifier {modifier.name!r} looks at more than one part")

    def _at_least(self, symbol: Symbol) -> int:
        return min(map(len, symbol.texts)) if symbol.texts else self.shortest[symbol.rule]


def _asked(symbol: Symbol, asked: Asked) -> Symbol:
    """A symbol of which one modifier more is asked."""
    if asked.modifier.kind.once and symbol.modifiers[-1:] == (asked,):
        return symbol
    if len(symbol.modifiers) == MOST_MODIFIERS:
        raise Beyond(f"modifier {asked.modifier.name!r} is applied again and again")
    return symbol._replace(modifiers=(*symbol.modifiers, asked))


def _modified(text: str, modifiers: Sequence[Asked]) -> str:
    for asked in modifiers:
        text = _short(asked.modifier(text))
    return text


def _short(text: str) -> str:
    """A text, if it is not too long: what is saved and used twice, again and again, soon is."""
    if len(text) > MOST_CHARACTERS:
        raise Beyond("what is saved or modified is too long")
    return text


def _joined(*parts: str | Symbol) -> Body:
    """Parts with neighbouring texts joined, and without empty ones."""
    found: list[str | Symbol] = []
    for part in parts:
        if isinstance(part, str) and found and isinstance(found[-1], str):
            found[-1] += part
        elif part != "":
            found.append(part)
    return tuple(found)

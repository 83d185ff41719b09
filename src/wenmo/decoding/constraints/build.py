"""Builds the constraint of a text from what is asked of it.

Each option of `ConstraintSettings` has its builder in the table `BUILDERS`. Several options may
have the same one, which then builds one constraint for all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TypeAlias, TypeVar

from wenmo.decoding.constraints.automaton import AutomatonTable
from wenmo.decoding.constraints.base import Constraint, combine
from wenmo.decoding.constraints.forms import (
    beginning_of,
    check_max_tokens,
    given_characters,
    is_couplet,
)
from wenmo.decoding.constraints.grammar import TokenGrammar
from wenmo.decoding.constraints.length import LengthTable
from wenmo.decoding.constraints.notation import (
    STRUCTURES,
    compile_structure,
    named_characters,
    structure_settings,
)
from wenmo.decoding.constraints.product import Product
from wenmo.decoding.constraints.seeded import ConstrainedForm, FormConstraint
from wenmo.decoding.constraints.settings import ConstraintSettings, parse_lengths
from wenmo.decoding.constraints.structure import Structure, StructureVocabulary
from wenmo.decoding.constraints.texts import (
    GAP_CONSTRAINTS,
    TEXT_CONSTRAINTS,
    check_characters,
    parts_of,
    start_of,
    text_settings,
)
from wenmo.decoding.constraints.trie import TokenTrie
from wenmo.decoding.constraints.utf8 import Utf8Vocabulary
from wenmo.decoding.params import Sampling
from wenmo.grammar.chart import Chart
from wenmo.text.tokenizers import Tokenizer
from wenmo.types import SpecialTokens, WenmoError
from wenmo.verse.form import load_form

T = TypeVar("T")
MAX_CACHED = 64  # compiled constraints of a generator
MAX_NAMED = 10  # characters that a message names


@dataclass(frozen=True, slots=True)
class ConstraintRequest:
    """A text that is to be constrained.

    Attributes:
        settings: what it must be; files are read already.
        prompt: the text that it continues.
        source: the text that it answers to; None: there is none.
        sampling: how its tokens are chosen.
        strip_space: a space at its beginning is not shown, and is no part of it.
        characters: the alphabet that it is written with, unless it needs others.
    """

    settings: ConstraintSettings
    prompt: str
    source: str | None
    sampling: Sampling
    strip_space: bool
    characters: Utf8Vocabulary


class ConstraintBuilder:
    """Builds the constraints of all texts of one vocabulary, and keeps what it has compiled.

    Args:
        tokenizer: with the bytes of each token.
        alphabet: the characters of the training text; None: all characters.
        special_tokens: of the model.
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        alphabet: Iterable[str] | None,
        special_tokens: SpecialTokens,
    ) -> None:
        self.tokenizer = tokenizer
        self.alphabet = None if alphabet is None else frozenset(alphabet)
        self.special_tokens = special_tokens
        self._cache: dict[Hashable, object] = {}
        self._grammars: dict[tuple[Chart, bool], TokenGrammar] = {}
        self._lengths: LengthTable | None = None

    def start(self, request: ConstraintRequest) -> Constraint | None:
        """The constraint of a text; None: it is free.

        Raises:
            WenmoError: an option that cannot be met, or not with this vocabulary.
        """
        given = request.settings.given
        for name in given:
            if name not in BUILDERS:
                raise WenmoError(f"{name}: is not available yet: leave it out")
        builders = dict.fromkeys(BUILDERS[name] for name in given)
        return combine(*(build(self, request) for build in builders))

    @cached_property
    def structures(self) -> StructureVocabulary:
        """The vocabulary as llguidance reads it."""
        return StructureVocabulary(self.tokenizer)

    @cached_property
    def trie(self) -> TokenTrie:
        """The vocabulary as automata read it."""
        return TokenTrie(self.tokenizer.table, self.alphabet)

    def trie_over(self, alphabet: frozenset[str] | None) -> TokenTrie:
        """The same with another alphabet."""
        if alphabet == self.alphabet:
            return self.trie
        return self.cached(("alphabet", alphabet), lambda: self.trie.over(alphabet))

    def cached(self, key: Hashable, make: Callable[[], T]) -> T:
        """What ``make`` returned when it was first called for this key."""
        if key not in self._cache:
            if len(self._cache) >= MAX_CACHED:
                self._cache.clear()
            self._cache[key] = make()
        found: T = self._cache[key]  # type: ignore[assignment]
        return found

    def grammar(self, chart: Chart, *, strip_space: bool) -> Constraint:
        """The constraint of one of our grammars; texts of one call share its cached states."""
        if (chart, strip_space) not in self._grammars:
            if any(other is not chart for other, _ in self._grammars):
                self._grammars.clear()  # a builder lives as long as its run, a grammar for a call
            table = self.tokenizer.table
            self._grammars[chart, strip_space] = TokenGrammar(chart, table, strip_space=strip_space)
        return self._grammars[chart, strip_space].start()

    def characters(self, count: int) -> Constraint:
        """The constraint of a text with so many characters."""
        if self._lengths is None:
            self._lengths = LengthTable(self.tokenizer.table)
        return self._lengths.start(count)


Builder: TypeAlias = Callable[[ConstraintBuilder, ConstraintRequest], Constraint | None]


def build_structure(builder: ConstraintBuilder, request: ConstraintRequest) -> Constraint:
    """The constraint of a regular expression, a JSON Schema, choices or a grammar.

    It is written with the characters of the training text where it leaves a choice.

    Raises:
        WenmoError: it needs characters that the vocabulary or the training text does not have.
    """
    own = structure_settings(request.settings)
    name = own.given[0]
    if request.sampling.stop:
        raise WenmoError(f"stop: may end a text before it is what {name} asks: leave it out")

    def compile_for_vocabulary() -> tuple[Structure, str]:
        grammar, named = compile_structure(own), named_characters(own)
        if lacking := [each for each in named if builder.structures.lacks(each)]:
            raise WenmoError(f"{name}: the vocabulary has no token for {_listed(lacking)}")
        compiled = Structure(builder.structures, grammar, name, strip_space=request.strip_space)
        return compiled, "".join(dict.fromkeys(compiled.required + named))

    structure, named = builder.cached((own, request.strip_space), compile_for_vocabulary)
    alphabet = request.characters.alphabet
    if alphabet is None:
        return structure.start()
    advice = "train on text with them, or allow them with unseen_characters"
    if unseen := [each for each in named if each not in alphabet]:
        raise WenmoError(f"{name}: the training text has no {_listed(unseen)}: {advice}")
    preferred = request.characters.start()
    if not structure.allows(preferred):
        raise WenmoError(
            f"{name}: the training text has no character that such a text begins with: {advice}"
        )
    return structure.start(preferred)


def build_form(builder: ConstraintBuilder, request: ConstraintRequest) -> Constraint:
    """The constraint of a form of verse, with all that automata over characters can ask for.

    Raises:
        WenmoError: no such form, or no poem of it can be written.
    """
    name, acrostic = request.settings.form, request.settings.acrostic
    assert name is not None
    if request.sampling.stop:
        raise WenmoError("stop: may end a poem before it is complete: leave it out")
    tokenizer, trie = builder.tokenizer, builder.trie_over(request.characters.alphabet)
    settings = text_settings(request.settings)
    if trie.alphabet is not None:
        check_characters(settings, trie.alphabet)
    beginning = beginning_of(request.prompt, request.source if is_couplet(name) else None)

    def make() -> tuple[ConstrainedForm, AutomatonTable]:
        others = parts_of(replace(settings, acrostic=None))
        automaton = load_form(name).automaton(
            trie.alphabet, fixed=given_characters(acrostic), beginning=beginning
        )
        form = ConstrainedForm(
            automaton, [each.automaton for each in others], trie.alphabet, request.prompt
        )
        strip_space, suffix_space = request.strip_space, tokenizer.suffix_space
        return form, AutomatonTable(
            form.automaton, trie, strip_space=strip_space, suffix_space=suffix_space
        )

    key = ("form", name, settings, beginning, trie.alphabet, request.strip_space)
    form, table = builder.cached(key, make)
    least, _ = form.automaton.remaining(form.draw(0))
    check_max_tokens(name, least, request.sampling.max_tokens, tokenizer.table)
    return FormConstraint(table, form.draw)


def build_text(builder: ConstraintBuilder, request: ConstraintRequest) -> Constraint | None:
    """The constraint of a length, of phrases and of an acrostic, all in one; None: a form has it.

    Raises:
        WenmoError: no text meets them, or none with the characters of the training text.
    """
    if request.sampling.stop and set(request.settings.given) - {"forbid"}:
        raise WenmoError("stop: may end a text before it is what it must be: leave it out")
    if request.settings.form is not None:
        return None
    settings, strip_space = text_settings(request.settings), request.strip_space
    tokenizer, trie = builder.tokenizer, builder.trie_over(request.characters.alphabet)
    if trie.alphabet is not None:
        check_characters(settings, trie.alphabet)

    def make() -> tuple[Product, AutomatonTable]:
        product = Product([part.automaton for part in parts_of(settings)], trie.alphabet)
        suffix_space = tokenizer.suffix_space
        table = AutomatonTable(product, trie, strip_space=strip_space, suffix_space=suffix_space)
        return product, table

    product, table = builder.cached((settings, trie.alphabet, strip_space), make)
    last = tokenizer.encode(request.prompt)[-1:].tolist() if tokenizer.suffix_space else []
    spaced = any(tokenizer.table[id_].endswith(b" ") for id_ in last)
    state, tokens = start_of(settings, product, request.prompt), request.sampling.max_tokens
    least, longest = product.remaining(state)[0], len(trie.levels)
    if least > tokens * longest:
        raise WenmoError(
            f"max_tokens={tokens}: the text needs at least {-(-least // longest)}: raise it"
        )
    return table.start(state, b" " if spaced else b"", tokens)


def build_gap(
    builder: ConstraintBuilder, request: ConstraintRequest, following: str
) -> tuple[Constraint, int]:
    """The constraint of a gap, and its number of tokens, which are of one character each.

    Args:
        request: its prompt is the text before the gap.
        following: the text behind the gap.

    Raises:
        WenmoError: what cannot be asked of a gap, or cannot be met.
    """
    for name in request.settings.given:
        if name not in GAP_CONSTRAINTS:
            raise WenmoError(f"a gap cannot be held to {name}: leave one of the two out")
    settings = request.settings
    trie = builder.trie_over(request.characters.alphabet)
    if len(trie.levels) > 1 or trie.usual_cost > 1:
        raise WenmoError(
            "a gap can be held to constraints where each token is a character, and those of this "
            "model are not: leave one of the two out"
        )
    lengths = parse_lengths(settings.length) if settings.length else ()
    exact = [int(each.most) for each in lengths if each.unit == "c" and each.least == each.most]
    size = request.sampling.gap_tokens or next(iter(exact), 0)
    if not size:
        raise WenmoError("a gap with constraints needs its length: add length=5c or gap_tokens=5")
    sized = replace(settings, length=",".join([*map(str, lengths), f"{size}c"]))
    check_characters(sized, trie.one_token)
    product = Product([each.automaton for each in parts_of(sized, following)], trie.one_token)
    state = start_of(sized, product, request.prompt, following)
    return AutomatonTable(product, trie.over(trie.one_token)).start(state), size


def _listed(characters: Sequence[str]) -> str:
    shown = " ".join(map(repr, characters[:MAX_NAMED]))
    return shown + " …" * (len(characters) > MAX_NAMED)


BUILDERS: dict[str, Builder] = {
    "form": build_form,
    **dict.fromkeys(STRUCTURES, build_structure),
    **dict.fromkeys(TEXT_CONSTRAINTS, build_text),
}
"""The builder of each option of `ConstraintSettings`; one without is refused."""

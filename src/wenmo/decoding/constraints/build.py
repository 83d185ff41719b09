"""Builds the constraint of a text from what is asked of it.

Each option of `ConstraintSettings` has its builder in the table `BUILDERS`. Several options may
have the same one, which then builds one constraint for all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass
from typing import TypeAlias, TypeVar

from wenmo.decoding.constraints.base import Constraint, combine
from wenmo.decoding.constraints.grammar import TokenGrammar
from wenmo.decoding.constraints.length import LengthTable
from wenmo.decoding.constraints.settings import ConstraintSettings
from wenmo.decoding.params import Sampling
from wenmo.grammar.chart import Chart
from wenmo.text.tokenizers import Tokenizer
from wenmo.types import SpecialTokens, WenmoError

T = TypeVar("T")
MAX_CACHED = 64  # compiled constraints of a generator


@dataclass(frozen=True, slots=True)
class ConstraintRequest:
    """A text that is to be constrained.

    Attributes:
        settings: what it must be; files are read already.
        prompt: the text that it continues.
        source: the text that it answers to; None: there is none.
        sampling: how its tokens are chosen.
        strip_space: a space at its beginning is not shown, and is no part of it.
    """

    settings: ConstraintSettings
    prompt: str
    source: str | None
    sampling: Sampling
    strip_space: bool


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

BUILDERS: dict[str, Builder] = {}
"""The builder of each option of `ConstraintSettings`; one without is refused."""

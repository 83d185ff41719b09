"""A chart that is read token by token, where tokens stand for characters or for their bytes.

A character that the tokenizer has no token for is spelled in the bytes of its UTF-8; what the bytes
so far may still become is summed over.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from wenmo.grammar.chart import Chart, Column
from wenmo.types import END

KEPT = 50_000  # texts whose columns are kept, so that going on with them costs one step
NO_TOKEN = -1
FIRST_BYTE = -2


@dataclass(slots=True)
class Place:
    """Where a text leads.

    Attributes:
        column: of the chart, after the last whole character; None where no text begins so.
        pending: the ids of the first bytes of a character.
        after: where each token leads from here.
    """

    column: Column | None
    pending: tuple[int, ...] = ()
    after: dict[int, Place] = field(default_factory=dict)


class TokenChart:
    """What follows a text, in tokens.

    Args:
        chart: what follows it in characters.
        codes: the code point that each id stands for; of a byte b, `FIRST_BYTE` - b; of END,
            `NO_TOKEN`.
    """

    def __init__(self, chart: Chart, codes: Sequence[int]) -> None:
        self.chart = chart
        self.root = Place(chart.start)
        self._made = 0
        self._spelled: dict[tuple[int, ...], str] = {
            (id_,): chr(code) for id_, code in enumerate(codes) if code >= 0
        }
        self._known = {character: ids for ids, character in self._spelled.items()}
        self._bytes = {FIRST_BYTE - code: id_ for id_, code in enumerate(codes) if code < NO_TOKEN}

    def place(self, ids: Sequence[int]) -> Place:
        """Where a text leads."""
        place = self.root
        for token in ids:
            place = self.after(place, token)
        return place

    def after(self, place: Place, token: int) -> Place:
        """Where one more token leads, END among them; what was found is kept, up to a bound."""
        if token == END:
            return self.root
        found = place.after.get(token)
        if found is None:
            if self._made >= KEPT:
                self.root.after.clear()
                self._made = 0
            self._made += 1
            found = place.after[token] = self._step(place, token)
        return found

    def likely(self, place: Place) -> dict[int, float]:
        """The next token's distribution; after what cannot be written, only END is left."""
        likely: dict[int, float] = {}
        if place.column is not None:
            for token, share in self._tokens(place, self.chart.following(place.column)):
                likely[token] = likely.get(token, 0.0) + share
            if self._may_end(place):
                likely[END] = place.column.end
        total = sum(likely.values())
        return {token: share / total for token, share in likely.items()} if total else {END: 1.0}

    def logprob(self, place: Place, token: int) -> float:
        """Of one next token, without the rest of the distribution where that is not needed."""
        column = place.column
        if column is not None and not place.pending and token != END:
            after = self.after(place, token)
            if after.column is None:
                return -math.inf
            if not after.pending:
                return after.column.logprob - column.logprob
        elif column is not None and not place.pending:
            return math.log(column.end) if column.end > 0 else -math.inf
        share = self.likely(place).get(token, 0.0)
        return math.log(share) if share > 0 else -math.inf

    def by_rule(self, place: Place) -> Iterator[tuple[str, dict[int, float]]]:
        """What each rule has of that distribution, up to a factor; the start has the END."""
        if place.column is None:
            return
        for symbol, shares in self.chart.by_rule(place.column).items():
            likely: dict[int, float] = {}
            for token, share in self._tokens(place, shares):
                likely[token] = likely.get(token, 0.0) + share
            yield self.chart.cfg.rules[symbol], likely
        if self._may_end(place):
            yield self.chart.cfg.rules[0], {END: place.column.end}

    def _may_end(self, place: Place) -> bool:
        return place.column is not None and not place.pending and place.column.end > 0

    def _tokens(self, place: Place, shares: dict[str, float]) -> Iterator[tuple[int, float]]:
        """From the next characters to the next tokens: the first of each, or of what is left."""
        known = len(place.pending)
        for character, share in shares.items():
            ids = self._ids_of(character)
            if ids[:known] == place.pending and NO_TOKEN not in ids:
                yield ids[known], share

    def _step(self, place: Place, token: int) -> Place:
        if place.column is None:
            return place
        pending = (*place.pending, token)
        if pending not in self._spelled:
            following = map(self._ids_of, self.chart.following(place.column))
            if not any(ids[: len(pending)] == pending for ids in following):
                return Place(None)
        character = self._spelled.get(pending)
        if character is None:
            return Place(place.column, pending)
        return Place(self.chart.advance(place.column, character))

    def _ids_of(self, character: str) -> tuple[int, ...]:
        """The ids that spell a character, `NO_TOKEN` for a byte without one."""
        if character not in self._known:
            spelled = character.encode("utf-8", "surrogatepass")
            ids = tuple(self._bytes.get(byte, NO_TOKEN) for byte in spelled)
            self._known[character] = ids
            self._spelled[ids] = character
        return self._known[character]

"""Next-token probabilities under a grammar, for tokens that stand for characters or for bytes.

A character without a token is encoded as its UTF-8 bytes; the probability of a byte sums over the
characters that it can still become.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from wenmo.grammar.chart import Chart, Column
from wenmo.types import END

MAX_CACHED = 50_000  # prefixes whose states are cached
NO_TOKEN = -1
FIRST_BYTE = -2


@dataclass(slots=True)
class PrefixState:
    """The parse of a prefix.

    Attributes:
        column: chart column after the last complete character; None if no text has this prefix.
        pending: ids of the first bytes of an incomplete character.
        next_states: the state after each next token, as far as computed.
    """

    column: Column | None
    pending: tuple[int, ...] = ()
    next_states: dict[int, PrefixState] = field(default_factory=dict)


class TokenChart:
    """A chart over tokens.

    Args:
        chart: chart over characters.
        codes: code point of each id; `FIRST_BYTE` - b for a byte b; `NO_TOKEN` for END.
    """

    def __init__(self, chart: Chart, codes: Sequence[int]) -> None:
        self.chart = chart
        self.root = PrefixState(chart.start)
        self._cached = 0
        self._character_of: dict[tuple[int, ...], str] = {
            (id_,): chr(code) for id_, code in enumerate(codes) if code >= 0
        }
        self._ids_by_character = {character: ids for ids, character in self._character_of.items()}
        self._byte_ids = {
            FIRST_BYTE - code: id_ for id_, code in enumerate(codes) if code < NO_TOKEN
        }

    def state_after(self, ids: Sequence[int]) -> PrefixState:
        """The state after a prefix."""
        state = self.root
        for token in ids:
            state = self.advance(state, token)
        return state

    def advance(self, state: PrefixState, token: int) -> PrefixState:
        """The state after one more token, which can be END; cached up to a bound."""
        if token == END:
            return self.root
        next_state = state.next_states.get(token)
        if next_state is None:
            if self._cached >= MAX_CACHED:
                self.root.next_states.clear()
                self._cached = 0
            self._cached += 1
            next_state = state.next_states[token] = self._step(state, token)
        return next_state

    def next_token_probs(self, state: PrefixState) -> dict[int, float]:
        """The distribution of the next token; END alone where the prefix is impossible."""
        if state.column is None:
            return {END: 1.0}
        probs = self._token_probs(state, self.chart.next_char_probs(state.column))
        if self._can_end(state):
            probs[END] = state.column.end_prob
        total = sum(probs.values())
        return {token: prob / total for token, prob in probs.items()} if total else {END: 1.0}

    def logprob(self, state: PrefixState, token: int) -> float:
        """The log-probability of one next token; does not compute the others where possible."""
        column = state.column
        if column is not None and not state.pending and token != END:
            after = self.advance(state, token)
            if after.column is None:
                return -math.inf
            if not after.pending:
                return after.column.logprob - column.logprob
        elif column is not None and not state.pending:
            return math.log(column.end_prob) if column.end_prob > 0 else -math.inf
        prob = self.next_token_probs(state).get(token, 0.0)
        return math.log(prob) if prob > 0 else -math.inf

    def next_token_probs_by_rule(
        self, state: PrefixState
    ) -> Iterator[tuple[str, dict[int, float]]]:
        """The unnormalised probabilities of the next token by rule; END counts for the start
        rule.
        """
        if state.column is None:
            return
        for symbol, char_probs in self.chart.next_char_probs_by_symbol(state.column).items():
            yield self.chart.cfg.rules[symbol], self._token_probs(state, char_probs)
        if self._can_end(state):
            yield self.chart.cfg.rules[0], {END: state.column.end_prob}

    def _can_end(self, state: PrefixState) -> bool:
        return state.column is not None and not state.pending and state.column.end_prob > 0

    def _token_probs(self, state: PrefixState, char_probs: dict[str, float]) -> dict[int, float]:
        """Probabilities of next tokens from those of next characters."""
        offset = len(state.pending)
        probs: dict[int, float] = {}
        for character, prob in char_probs.items():
            ids = self._ids_of(character)
            if ids[:offset] == state.pending and NO_TOKEN not in ids:
                probs[ids[offset]] = probs.get(ids[offset], 0.0) + prob
        return probs

    def _step(self, state: PrefixState, token: int) -> PrefixState:
        if state.column is None:
            return state
        pending = (*state.pending, token)
        if pending not in self._character_of:
            characters = map(self._ids_of, self.chart.next_char_probs(state.column))
            if not any(ids[: len(pending)] == pending for ids in characters):
                return PrefixState(None)
        character = self._character_of.get(pending)
        if character is None:
            return PrefixState(state.column, pending)
        return PrefixState(self.chart.advance(state.column, character))

    def _ids_of(self, character: str) -> tuple[int, ...]:
        """The ids that encode a character, `NO_TOKEN` for bytes without a token."""
        if character not in self._ids_by_character:
            encoded = character.encode("utf-8", "surrogatepass")
            ids = tuple(self._byte_ids.get(byte, NO_TOKEN) for byte in encoded)
            self._ids_by_character[character] = ids
            self._character_of[ids] = character
        return self._ids_by_character[character]

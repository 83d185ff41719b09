"""Reading prompts: what rows have in common is read once, and long prompts in slices."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import torch

from wenmo.decoding.combination.capabilities import ReplacesPrefix
from wenmo.decoding.engines.base import window
from wenmo.decoding.engines.row import Row
from wenmo.decoding.prefix_cache import MIN_LENGTH, Prefix, PrefixCache
from wenmo.models.base import LanguageModel
from wenmo.models.capabilities import capability, has_capability
from wenmo.models.state import join, select, truncate
from wenmo.text.batches import pad
from wenmo.types import IGNORE, State

MAX_LOGITS = 1 << 25
"""A pass over prompts computes at most so many logits (128 MiB), of which only states are used."""
BLOCK = 64  # tokens after which a small state is stored, for prompts that differ later on
BLOCK_BYTES = 1 << 20  # that a small state takes


class Prefill:
    """Rows that read as many tokens, up to their last, which they read with the rows that write.

    Attributes:
        rows: that will write.
    """

    def __init__(
        self,
        model: LanguageModel,
        cache: PrefixCache,
        rows: list[Row],
        length: int,
        prefixes: Sequence[Prefix | None],
        shares: bool,
    ) -> None:
        self.rows, self._model, self._cache = rows, model, cache
        self._length, self._shares = length, shares
        first = _first_alike(model, rows, length, shares)
        unique = sorted(set(first))
        self._unique = [rows[index] for index in unique]
        self._index = [unique.index(index) for index in first]  # of each row, in ``_unique``
        texts = [row.ids[-length:-1].tolist() for row in self._unique]
        self._tokens = torch.tensor(texts, dtype=torch.long, device=model.device)
        found = [prefix for index in unique if (prefix := prefixes[index]) is not None]
        self._read = found[0].length if found else 0
        if found:
            self._state = self._from_prefixes([prefix.state for prefix in found])
        else:
            self._state = initial_state(model, self._unique, length)

    def _from_prefixes(self, states: list[State]) -> State:
        """Copies of stored states, of which some may have read more than the prefix."""
        state = select(states[0], [0]) if len(states) == 1 else join(states)
        if not self._model.state_schema.can_truncate(state):
            return state
        lengths = torch.full((len(states),), self._read, device=self._model.device)
        return truncate(self._model, state, lengths, self._tokens)

    @property
    def is_done(self) -> bool:
        """Whether all but the last token is read."""
        return self._read >= self._length - 1

    def advance(self, max_tokens: int | None) -> int:
        """Read the next slice: at most so many tokens of all rows together, and at least one of
        each; None: all that is left.

        Returns:
            The number of tokens read.
        """
        height = len(self._unique)
        stop = self._length - 1
        if max_tokens is not None:
            stop = min(stop, self._read + max(1, max_tokens // height))
        begun = self._read
        piece = max(1, MAX_LOGITS // (height * self._model.vocab_size))
        while self._read < stop:
            end = min(stop, self._read + piece, (self._read // BLOCK + 1) * BLOCK)
            _, self._state = self._model(self._tokens[:, self._read : end], self._state)
            self._read = end
            if self.is_done:
                self._store()
            elif end % BLOCK == 0 and not self._model.state_schema.can_truncate(self._state):
                self._store(BLOCK_BYTES)
        return height * (stop - begun)

    def finish(self) -> tuple[list[Row], State]:
        """The rows that still write, and their states."""
        if self._length == 1:
            self._store()
        rows, index = [], []
        for row, unique in zip(self.rows, self._index, strict=True):
            if not row.task.done:
                row.cached_length, row.behind = self._length - 1, 0
                rows.append(row)
                index.append(unique)
        if index == list(range(len(self._unique))):
            return rows, self._state
        return rows, select(self._state, index)

    def _store(self, max_bytes: int | None = None) -> None:
        """Keep the states of prompts, of which some other request may read more."""
        if not self._shares:
            return
        for number, row in enumerate(self._unique):
            if row.task.request.state is None and not row.written:
                ids = row.ids[-self._length :][: self._read]
                source = _source(self._model, row)
                self._cache.store(source, ids, self._state, number, max_bytes)


class Reader:
    """Arranges rows that have something to read into groups."""

    def __init__(self, model: LanguageModel, cache: PrefixCache) -> None:
        self._model, self._cache = model, cache
        self._shares: bool | None = None

    def groups(self, rows: list[Row]) -> list[Prefill]:
        """The rows, those together that have as many tokens to read."""
        alike: dict[tuple[int, int, bool], list[tuple[Row, Prefix | None]]] = defaultdict(list)
        for row in rows:
            length, encodes = read_length(self._model, row), _encodes(self._model, row)
            prefix = self._find(row, length, encodes)
            found = 0 if prefix is None else prefix.length
            alike[length, -1 if prefix is None else found, encodes].append((row, prefix))
        return [
            Prefill(
                *(self._model, self._cache, [row for row, _ in group], length),
                *([prefix for _, prefix in group], self._is_shared(encodes)),
            )
            for (length, _, encodes), group in alike.items()
        ]

    def _find(self, row: Row, length: int, encodes: bool) -> Prefix | None:
        if row.task.request.state is not None or not self._is_shared(encodes):
            return None
        if length <= MIN_LENGTH and not encodes:
            return None
        return self._cache.find(_source(self._model, row), row.ids[-length:-1])

    def _is_shared(self, encodes: bool) -> bool:
        """Whether texts of one prompt begin in one state. A model that draws something beforehand
        does not share; it is found out by whether it uses the generator.
        """
        if encodes:
            return True
        if self._shares is None:
            generator = torch.Generator(self._model.device).manual_seed(0)
            before = generator.get_state()
            self._model.initial_state(1, generator=generator)
            drawn = not torch.equal(before, generator.get_state())
            self._shares = not (drawn or has_capability(self._model, ReplacesPrefix))
        return self._shares


def read_length(model: LanguageModel, row: Row) -> int:
    """How many of its last tokens a row reads: of a new row its window, of one that has filled the
    context the last half of that.
    """
    if row.position and model.context is not None:
        return max(1, model.context // 2)
    if row.task.request.source is not None:
        return len(row.ids)
    return window(len(row.ids), model.context)


def initial_state(model: LanguageModel, rows: list[Row], length: int) -> State:
    """Empty states, or those that the requests bring. Sources are encoded together; what is drawn
    comes from a row's seed.
    """
    device, context = model.device, model.context
    room = [_power_of_two(length + row.task.limit - row.written) for row in rows]
    if context is not None:
        room = [min(tokens, context) for tokens in room]
    if _encodes(model, rows[0]):
        suffix = model.special_tokens.source_suffix
        sources = [[*(row.task.request.source or ()), *suffix] for row in rows]
        source = pad(sources, IGNORE).to(device)
        return model.initial_state(len(rows), source=source, capacity=max(room))
    states, replacing = [], capability(model, ReplacesPrefix)
    for row, capacity in zip(rows, room, strict=True):
        state = row.task.request.state
        if state is None:
            generator = torch.Generator(device).manual_seed(row.task.request.sampling.seed)
            if replacing is None:
                state = model.initial_state(1, capacity=capacity, generator=generator)
            else:
                state = replacing.initial_state_before(
                    _prefix_length(row, length), capacity=capacity, generator=generator
                )
        states.append(state)
    return join(states)


def _prefix_length(row: Row, length: int) -> int:
    """How many of the tokens that a row reads come before its text: its source, or its prompt."""
    request = row.task.request
    text = row.written + (0 if request.source is None else len(request.prompt))
    return max(0, length - text)


def _power_of_two(tokens: int) -> int:
    """The next power of two: states of like capacity are written into each other's slots."""
    return 1 << max(0, tokens - 1).bit_length()


def _first_alike(model: LanguageModel, rows: list[Row], length: int, shares: bool) -> list[int]:
    """For each row, the first that reads the same."""
    first: dict[object, int] = {}
    found = []
    for number, row in enumerate(rows):
        request = row.task.request
        key: object = number
        if shares and request.state is None and (length > 1 or _encodes(model, row)):
            key = _source(model, row), row.ids[-length:-1].tobytes()
        found.append(first.setdefault(key, number))
    return found


def _encodes(model: LanguageModel, row: Row) -> bool:
    return model.conditioning == "encoder" and row.task.request.source is not None


def _source(model: LanguageModel, row: Row) -> tuple[int, ...] | None:
    """What an encoder reads for a row; None: nothing."""
    return tuple(row.task.request.source or ()) if _encodes(model, row) else None

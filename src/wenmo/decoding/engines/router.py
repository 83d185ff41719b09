"""The engine that suits each request: what a batch holds besides never changes a text."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from wenmo.decoding.engines.autoregressive import Engine, Event
from wenmo.decoding.engines.masked import Unmasker
from wenmo.decoding.request import Request
from wenmo.models.base import LanguageModel
from wenmo.types import WenmoError


def engine_for(model: LanguageModel, request: Request) -> type[Engine] | type[Unmasker]:
    """The kind of engine that writes a request. Constrained texts are written from left to right.

    Raises:
        WenmoError: no engine can do what is asked.
    """
    if not model.fills:
        return Engine
    if request.suffix is not None:
        if request.sampling.method == "beam":
            raise WenmoError("beam search cannot fill a gap: use method=sample or method=greedy")
        if request.constraint is not None:
            raise WenmoError("a gap cannot be held to a constraint: leave one of the two out")
        return Unmasker
    return Unmasker if request.sampling.unmasks and request.constraint is None else Engine


class Router:
    """Writes many texts with one model, each request with the engine that `engine_for` names; it
    has the methods of `Engine`.

    Attributes:
        rows: how many texts each engine writes side by side.
    """

    def __init__(self, model: LanguageModel, *, rows: int = 32) -> None:
        self.model, self.rows = model, rows
        self._engines: dict[type[Engine] | type[Unmasker], Engine | Unmasker] = {}
        self._requests: list[tuple[Engine | Unmasker, int]] = []  # engine, and its own number
        self._numbers: dict[tuple[Engine | Unmasker, int], int] = {}

    def add(self, request: Request) -> int:
        """Take a request; return its number.

        Raises:
            WenmoError: the model cannot do what is asked.
        """
        kind = engine_for(self.model, request)
        engine = self._engines.setdefault(kind, kind(self.model, rows=self.rows))
        own = engine, engine.add(request)
        self._requests.append(own)
        self._numbers[own] = len(self._requests) - 1
        return self._numbers[own]

    def cancel(self, request: int) -> None:
        """End a request early; nothing happens if it has ended already."""
        engine, number = self._requests[request]
        engine.cancel(number)

    def run(self) -> Iterator[Event]:
        """Write until no request is left."""
        for engine in self._engines.values():
            for event in engine.run():
                yield replace(event, request=self._numbers[engine, event.request])

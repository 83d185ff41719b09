"""The engine that suits each request: the requests beside it never change a text."""

from __future__ import annotations

from dataclasses import replace

from wenmo.decoding.engines.autoregressive import AutoregressiveEngine
from wenmo.decoding.engines.base import Engine, Event
from wenmo.decoding.engines.contrastive import ContrastiveEngine
from wenmo.decoding.engines.masked import MaskedEngine
from wenmo.decoding.request import Request
from wenmo.models.base import LanguageModel
from wenmo.models.capabilities import Infills, has_capability
from wenmo.types import WenmoError


def engine_for(
    model: LanguageModel, request: Request
) -> type[AutoregressiveEngine] | type[ContrastiveEngine] | type[MaskedEngine]:
    """The class of engine that writes a request. Constrained texts are written from left to right.

    Raises:
        WenmoError: no engine can do what is requested.
    """
    if request.sampling.method == "contrastive":
        return ContrastiveEngine
    if not has_capability(model, Infills):
        return AutoregressiveEngine
    unmasks = request.sampling.unmasks and request.constraint is None
    if request.draft is not None and (request.suffix is not None or unmasks):
        raise WenmoError(
            "draft: proposes what follows, and a masked model fills tokens in any order: leave it "
            "out, or use unmask_order=left and no gap"
        )
    if request.suffix is not None:
        if request.sampling.searches:
            raise WenmoError("beam search cannot fill a gap: use method=sample or method=greedy")
        return MaskedEngine
    return MaskedEngine if unmasks else AutoregressiveEngine


class Router(Engine):
    """Writes each request with the engine that `engine_for` names.

    Attributes:
        rows: the batch size of each engine.
    """

    def __init__(self, model: LanguageModel, *, rows: int = 32) -> None:
        self.model, self.rows = model, rows
        self._engines: dict[type[Engine], Engine] = {}
        self._submitted = 0
        self._inner: dict[int, tuple[Engine, int]] = {}  # the engine of a request, and its id there
        self._outer: dict[tuple[Engine, int], int] = {}

    def submit(self, request: Request) -> int:
        """Queue a request; see `Engine.submit`."""
        kind = engine_for(self.model, request)
        if kind not in self._engines:
            self._engines[kind] = kind(self.model, rows=self.rows)
        engine = self._engines[kind]
        inner, outer = (engine, engine.submit(request)), self._submitted
        self._inner[outer], self._outer[inner] = inner, outer
        self._submitted += 1
        return outer

    def cancel(self, request: int) -> None:
        """End a request early; nothing happens if it has ended already."""
        inner = self._inner.pop(request, None)
        if inner is not None:
            del self._outer[inner]
            inner[0].cancel(inner[1])

    def step(self) -> list[Event]:
        """One step of each engine that has requests."""
        events = []
        for engine in self._engines.values():
            if not engine.is_idle:
                events += [
                    replace(event, request=self._outer[engine, event.request])
                    for event in engine.step()
                    if (engine, event.request) in self._outer
                ]
        for event in events:
            if event.stopped_by:
                self.cancel(event.request)
        return events

    def is_open(self, request: int) -> bool:
        """Whether a request has neither ended nor been cancelled."""
        return request in self._inner

    @property
    def is_idle(self) -> bool:
        """Whether no request is left."""
        return all(engine.is_idle for engine in self._engines.values())

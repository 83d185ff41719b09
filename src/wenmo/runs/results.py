"""Results of run folders: the result of a training, a row in a list of runs, a full description.

This module does not import PyTorch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Self

from wenmo.evaluation.results import (
    ChosenSampling,
    Evaluation,
    Tradeoff,
    Verdict,
    read_evaluation,
)
from wenmo.results import Result


@dataclass(frozen=True)
class Forgetting(Result):
    """The change of the likelihood of a reference text by training.

    Attributes:
        before, after: bits per byte.
    """

    before: float
    after: float


@dataclass(frozen=True)
class TrainingResult(Result):
    """The result of a finished training, as stored in the card.

    Attributes:
        heldout: evaluation of the best weights on held-out text.
        steps: number of steps.
        seconds: seconds of training.
        parameters: number of parameters.
        characters_per_second: speed of generation; None: too little text was generated.
        sampling: default sampling settings, if they were chosen.
        verdict: verdict on the run.
        tradeoff: quality against diversity, if the model has baselines.
        forgetting: change on a reference text, if there is one.
        time: seconds of each phase of the run, and ``total``.
    """

    heldout: Evaluation
    steps: int
    seconds: float
    parameters: int
    characters_per_second: float | None
    sampling: ChosenSampling | None = None
    verdict: Verdict | None = None
    tradeoff: Tradeoff | None = None
    forgetting: Forgetting | None = None
    time: dict[str, float] = field(default_factory=dict)

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> Self:
        """The results in a card."""
        return replace(super().from_dict(content), heldout=read_evaluation(content["heldout"]))


@dataclass(frozen=True)
class DamagedRun(Result):
    """A run folder that cannot be read.

    Attributes:
        run: folder of the run.
        bytes: size on disk.
        problem: one line for the user.
    """

    run: str
    bytes: int
    problem: str


@dataclass(frozen=True)
class RunSummary(Result):
    """A row in a list of runs; values that are not known yet are None.

    Attributes:
        run: folder of the run.
        family: model family.
        task: name of the task.
        bits_per_byte: bits per byte of the held-out text.
        bound: ``bits_per_byte`` is an upper bound.
        minutes: minutes of training.
        bytes: size on disk.
        finished: training reached the end of its budget.
        sample: the last sample.
    """

    run: str
    family: str
    task: str
    bits_per_byte: float | None
    bound: bool
    minutes: float | None
    bytes: int
    finished: bool
    sample: str | None


@dataclass(frozen=True)
class RunDescription(RunSummary):
    """A full description of a run.

    Attributes:
        parameters: number of parameters.
        steps: number of steps.
        best_step: step whose weights are saved.
        heldout: evaluation of held-out text, as stored in the card.
        sampling: default sampling settings, as stored in the card.
        data: source and size of the text.
        settings: settings chosen by the user.
        derived: settings derived from the text and the time budget.
        history: the lines of ``metrics.jsonl``.
        samples: samples during training, each with ``step`` and ``text``.
        exports: for each format the reason why the run cannot be exported, or None.
        exports_network_only: formats to which the network can be exported without n-gram counts.
    """

    parameters: int | None
    steps: int | None
    best_step: int | None
    heldout: dict[str, Any] | None
    sampling: dict[str, Any] | None
    data: dict[str, Any]
    settings: dict[str, Any]
    derived: dict[str, Any]
    history: list[dict[str, Any]]
    samples: list[dict[str, Any]]
    exports: dict[str, str | None] | None
    exports_network_only: list[str]

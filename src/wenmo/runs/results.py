"""What is told of run folders: what a training came to, a row of a list of runs, all of one run.

Nothing here loads PyTorch.
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
    """What a training made of a reference text.

    Attributes:
        before, after: bits per byte on it.
    """

    before: float
    after: float


@dataclass(frozen=True)
class TrainingResult(Result):
    """What a finished training came to, as the card holds it.

    Attributes:
        heldout: the evaluation of the best weights on held-out text.
        steps: that were made.
        seconds: of training.
        parameters: of the model.
        characters_per_second: of writing; None where too few were written to tell.
        sampling: how the run writes where nothing is asked for, where that was chosen.
        verdict: what the run is worth.
        tradeoff: quality against diversity, where there are baselines.
        forgetting: where there is a reference text.
        time: seconds of each part of the run, and in ``total``.
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
        run: the folder.
        bytes: on disk.
        problem: a line for the user.
    """

    run: str
    bytes: int
    problem: str


@dataclass(frozen=True)
class RunSummary(Result):
    """A row of a list of runs; a figure that is not known yet is None.

    Attributes:
        run: the folder.
        family: of the model.
        task: what it learns.
        bits_per_byte: of the held-out text.
        bound: that figure is an upper bound.
        minutes: of training.
        bytes: on disk.
        finished: training reached the end of its budget.
        sample: what the run wrote last.
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
    """Everything that is worth knowing about one run.

    Attributes:
        parameters: of the model.
        steps: that were made.
        best_step: whose weights are kept.
        heldout: the evaluation of held-out text, as the card holds it.
        sampling: how the run writes where nothing is asked for, as the card holds it.
        data: where the text comes from and how much it is.
        settings: those that the user chose.
        derived: those that were chosen for the text and the time.
        history: the lines of ``metrics.jsonl``.
        samples: what was written on the way: ``step`` and ``text`` each.
        exports: for each format the reason why it cannot hold the run, or None.
        exports_network_only: the formats that hold its network without counts.
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

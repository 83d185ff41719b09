"""The setting of the draft, which changes how soon a text is written and never which.

Importing this module does not load PyTorch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from wenmo.config import from_dict
from wenmo.options import Settings, option

PROMPT, NGRAM = "prompt", "ngram"
_BEAM = (
    "speeds up texts that are written one by one, and {} compares several at each step: leave it "
    "out, or use method=greedy or method=sample"
)
NO_DRAFT = {
    "beam": _BEAM.format("beam search"),
    "beam-sample": _BEAM.format("beam sampling"),
    "stochastic-beam": _BEAM.format("stochastic beam search"),
    "contrastive": "contrastive search compares the hidden states of several candidates, which no "
    "draft proposes: leave it out, or use method=greedy or method=sample",
    "uniform": "method=uniform draws whole texts by rules: leave one of the two out",
}
"""Why a method takes no draft."""


@dataclass(frozen=True)
class DraftSettings(Settings):
    """What proposes tokens.

    Raises:
        ValueError: an empty name.
    """

    draft: str | None = option(
        None,
        "proposes tokens that the run verifies, so that the same text is written in fewer steps: "
        "`prompt` (what followed the same tokens before), `ngram` (the run's own n-gram counts), "
        "or a cheaper run over the same vocabulary",
        "草稿：先提出若干词元，再由模型一次验证，文本不变而步数更少：`prompt`（前文中相同词元之后的"
        "内容）、`ngram`（运行自身的 n-gram 计数），或词表相同、开销更小的运行",
        metavar="prompt|ngram|RUN",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.draft == "":
            raise ValueError("draft: is empty: write prompt, ngram or a run, or leave it out")


def split_draft(options: Mapping[str, Any]) -> tuple[DraftSettings, dict[str, Any]]:
    """The setting of the draft among some options, and the other options.

    Raises:
        WenmoError: a value of another type, or an empty one.
    """
    others = dict(options)
    draft = others.pop("draft", None)
    given = {} if draft is None else {"draft": draft if isinstance(draft, bool) else str(draft)}
    return from_dict(DraftSettings, given), others

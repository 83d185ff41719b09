"""The settings of n-gram models."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from wenmo.models.config import ModelConfig
from wenmo.options import option


@dataclass(frozen=True)
class NgramConfig(ModelConfig):
    """Settings of an n-gram model."""

    class_path: ClassVar[str] = "wenmo.models.ngram:Ngram"

    order: int = option(5, "length of the longest n-grams", "最长 n-gram 的长度", minimum=1)
    prune: tuple[int, ...] = option(
        (),
        "n-grams seen at most this often are dropped, for each order from 1 up; the last "
        "number holds for the orders above: `prune=[0,0,1]`",
        "出现次数不超过此值的 n-gram 被剪去，从 1 阶起逐阶给出，最后一个数用于更高的阶："
        "`prune=[0,0,1]`",
    )
    totals: bool = option(
        False,
        "keep how often each context was seen, which networks on counts read",
        "保留每个上文的次数，供计数之上的网络使用",
    )
    counts: bool = option(
        False,
        "keep how often each n-gram was seen, so that more text can be counted with "
        "`--from` this run",
        "保留每个 n-gram 的次数，以便用 `--from` 此运行继续计数",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if list(self.prune) != sorted(self.prune) or min(self.prune, default=0) < 0:
            raise ValueError("prune must not be negative, nor fall from one order to the next")

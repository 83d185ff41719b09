"""The settings of a combination: what steers a run while it writes, and how strongly.

Importing this module does not load PyTorch.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from wenmo.config import from_dict
from wenmo.options import Settings, invalid_options, option, options_of
from wenmo.types import strings

NUCLEUS = 0.9  # of the base with an anti-expert, as in Liu et al. (2021), section 3
CANDIDATES = 200  # of the base with a classifier, as in Yang & Klein (2021), section 3
MEMBERS = ("expert", "anti", "classifier")
CHOICES = ("base_top_k", "base_top_p", "base_min_p")


class Weighted(NamedTuple):
    """A run or a file, and its weight."""

    path: str
    weight: float


@dataclass(frozen=True)
class CombinationSettings(Settings):
    """What steers a run while it writes. The defaults change nothing.

    Raises:
        ValueError: a value out of range or in another form, or settings that do not go together.
    """

    expert: tuple[str, ...] = option(
        (),
        "a run over the same vocabulary whose log-probabilities are added ALPHA times (Liu et al. "
        "2021); repeatable",
        "词表相同的运行，其对数概率乘以 ALPHA 后相加（Liu et al. 2021）；可重复",
        metavar="RUN=ALPHA",
    )
    anti: tuple[str, ...] = option(
        (),
        "a run over the same vocabulary whose log-probabilities are subtracted ALPHA times; "
        "repeatable",
        "词表相同的运行，其对数概率乘以 ALPHA 后减去；可重复",
        metavar="RUN=ALPHA",
    )
    combine: Literal["product", "mixture", "bayes"] = option(
        "product",
        "`product` adds weighted log-probabilities, `mixture` averages probabilities, `bayes` "
        "weighs tokens by the probability that the text is an expert's and no anti-expert's "
        "(Krause et al. 2021)",
        "`product` 对数概率加权相加，`mixture` 概率加权平均，`bayes` 按文本出自专家而非反专家的"
        "概率加权（Krause et al. 2021）",
    )
    class_weight: float = option(
        1.0,
        "exponent of the probability of the class, with `combine=bayes`",
        "`combine=bayes` 时类别概率的指数",
        above=0,
        maximum=1000,
    )
    classifier: tuple[str, ...] = option(
        (),
        "a file of a classifier of beginnings of texts, whose log-probability is added WEIGHT "
        "times (Yang & Klein 2021); repeatable",
        "文本前缀分类器的文件，其对数概率乘以 WEIGHT 后相加（Yang & Klein 2021）；可重复",
        metavar="FILE=WEIGHT",
    )
    guidance_scale: float = option(
        1.0,
        "how far a text moves from what it would be after `negative_prompt` to what it is after "
        "the prompt (Sanchez et al. 2023); 1: it is not guided",
        "无分类器引导：文本由 `negative_prompt` 之后的样子向提示之后的样子移动的倍数（Sanchez et "
        "al. 2023）；1：不引导",
        minimum=0,
        maximum=100,
    )
    negative_prompt: str | None = option(
        None,
        "with `guidance_scale`: what stands in place of the prompt, or of the source",
        "与 `guidance_scale` 同用：替代提示（或源文）的文本",
        unset="nothing",
        unset_zh="无",
    )
    base_top_k: int | None = option(
        None,
        "combine only the k likeliest tokens of the run itself; 0: all",
        "只在运行自身概率最高的 k 个词元中组合；0：全部",
        minimum=0,
        unset="200 with a classifier, else 0",
        unset_zh="有分类器时为 200，否则为 0",
    )
    base_top_p: float | None = option(
        None,
        "combine only the likeliest tokens of the run itself that together have probability p",
        "只在运行自身累计概率达到 p 的高概率词元中组合",
        above=0,
        maximum=1,
        unset="0.9 with an anti-expert, else 1",
        unset_zh="有反专家时为 0.9，否则为 1",
    )
    base_min_p: float | None = option(
        None,
        "combine only the tokens whose probability in the run itself is at least this share of the "
        "likeliest one's (Li et al. 2023)",
        "只组合运行自身概率不低于最高概率这一比例的词元（Li et al. 2023）",
        minimum=0,
        maximum=1,
        unset="0",
        unset_zh="0",
    )

    def __post_init__(self) -> None:
        for wrong in invalid_options(self):
            raise ValueError(f"{wrong.name}={getattr(self, wrong.name)}: must be {wrong.wanted}")
        for name in MEMBERS:
            for entry in getattr(self, name):
                _weighted(name, entry)
        if not self.is_active:
            self._refuse_without_members()
        if self.negative_prompt is not None and self.guidance_scale == 1:
            raise ValueError("negative_prompt: has no effect without a guidance_scale other than 1")
        if self.class_weight != 1 and self.combine != "bayes":
            raise ValueError("class_weight: is for combine=bayes")
        if self.combine == "bayes" and not (self.expert and self.anti):
            raise ValueError("combine=bayes: needs an expert and an anti-expert at least")
        if self.combine == "mixture":
            self._check_mixture()

    @property
    def experts(self) -> tuple[Weighted, ...]:
        """Experts, and anti-experts with a negative weight; those of weight 0 are left out."""
        experts = [_weighted("expert", entry) for entry in self.expert]
        antis = [_weighted("anti", entry) for entry in self.anti]
        signed = [*experts, *(Weighted(path, -weight) for path, weight in antis)]
        return tuple(each for each in signed if each.weight)

    @property
    def classifiers(self) -> tuple[Weighted, ...]:
        """Files of classifiers; those of weight 0 are left out."""
        every = [_weighted("classifier", entry) for entry in self.classifier]
        return tuple(each for each in every if each.weight)

    @property
    def steers(self) -> bool:
        """Whether anything but the run itself decides what is written."""
        return bool(self.experts or self.classifiers or self.guidance_scale != 1)

    @property
    def is_active(self) -> bool:
        """Whether anything is to be combined, if only with a weight of 0."""
        return bool(self.expert or self.anti or self.classifier or self.guidance_scale != 1)

    @property
    def top_k(self) -> int:
        """``base_top_k`` with its default."""
        if self.base_top_k is not None:
            return self.base_top_k
        return CANDIDATES if self.classifiers else 0

    @property
    def top_p(self) -> float:
        """``base_top_p`` with its default."""
        if self.base_top_p is not None:
            return self.base_top_p
        has_anti = any(weight < 0 for _, weight in self.experts)
        return NUCLEUS if has_anti and not self.base_min_p else 1.0

    @property
    def min_p(self) -> float:
        """``base_min_p`` with its default."""
        return self.base_min_p or 0.0

    def __str__(self) -> str:
        """One line: what is combined, and among which tokens."""
        signs = [f"{weight:+g} × {path}" for path, weight in (*self.experts, *self.classifiers)]
        if self.guidance_scale != 1:
            signs.append(f"guidance {self.guidance_scale:g} from {self.negative_prompt or ''!r}")
        among = [
            *([f"top-k {self.top_k}"] if self.top_k else []),
            *([f"top-p {self.top_p:g}"] if self.top_p < 1 else []),
            *([f"min-p {self.min_p:g}"] if self.min_p else []),
        ]
        rule = self.combine + (f" {self.class_weight:g}" if self.combine == "bayes" else "")
        shown = f"{rule}: the run {' '.join(signs)}"
        return f"{shown}, among its own {', '.join(among)}" if among else shown

    def to_dict(self) -> dict[str, Any]:
        """What is combined, as JSON output has it."""
        pairs = {"experts": self.experts, "classifiers": self.classifiers}
        named = {
            name: [{"path": path, "weight": weight} for path, weight in entries]
            for name, entries in pairs.items()
        }
        return {
            "description": str(self),
            **named,
            "combine": self.combine,
            "class_weight": self.class_weight,
            "guidance_scale": self.guidance_scale,
            "negative_prompt": self.negative_prompt,
            "base_top_k": self.top_k,
            "base_top_p": self.top_p,
            "base_min_p": self.min_p,
        }

    def _refuse_without_members(self) -> None:
        named = [name for name in CHOICES if getattr(self, name) is not None]
        named += ["combine"] * (self.combine != "product")
        if named:
            raise ValueError(
                f"{named[0]}: nothing is combined: name an expert, an anti-expert or a classifier, "
                "or a guidance_scale"
            )

    def _check_mixture(self) -> None:
        weights = [weight for _, weight in self.experts]
        if self.classifier or self.guidance_scale != 1:
            raise ValueError(
                "combine=mixture: averages runs alone: leave classifier and guidance_scale out"
            )
        if any(weight < 0 for weight in weights) or sum(weights) > 1:
            raise ValueError(
                f"combine=mixture: the weights of the experts must lie between 0 and 1, and "
                f"together be at most 1; they are {', '.join(f'{w:g}' for w in weights)}"
            )


def split_combination(options: Mapping[str, Any]) -> tuple[CombinationSettings, dict[str, Any]]:
    """The settings of a combination among some options, and the other options.

    Runs and files may be given as ``"PATH=WEIGHT"``, as a list of these, or as ``{path: weight}``.

    Raises:
        WenmoError: a value of another type, out of range, or settings that do not go together.
    """
    names = options_of(CombinationSettings)
    given = {name: value for name, value in options.items() if name in names}
    for name in MEMBERS:
        value = given.get(name, ())
        if isinstance(value, Mapping):
            given[name] = [f"{path}={weight}" for path, weight in value.items()]
        elif value:
            given[name] = strings(value, name)
    others = {name: value for name, value in options.items() if name not in names}
    return from_dict(CombinationSettings, given), others


def _weighted(name: str, entry: str) -> Weighted:
    """``PATH=WEIGHT`` as a pair."""
    path, equals, number = entry.rpartition("=")
    wanted = f"{name}={entry!r}: write {'FILE=WEIGHT' if name == 'classifier' else 'RUN=ALPHA'}"
    try:
        weight = float(number)
    except ValueError:
        equals, weight = "", math.nan
    if not equals or not path:
        raise ValueError(f"{wanted}, as in runs/formal=1.5")
    if not 0 <= weight <= 1000:  # or NaN
        raise ValueError(f"{wanted}, a weight from 0 to 1000")
    return Weighted(path, weight)

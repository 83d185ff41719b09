"""The settings of a request: how its tokens are chosen."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, NoReturn

from wenmo.config import format_value
from wenmo.options import Settings, invalid_options, option

DRAWING = {"temperature", "top_k", "top_p", "min_p", "typical_p", "mbr"}
"""Settings of ``method=sample``: naming one without a method chooses that method."""


@dataclass(frozen=True)
class Sampling(Settings):
    """The settings of generation. The defaults do not change the distribution of the model.

    Raises:
        ValueError: a value out of range; the message names the field.
    """

    method: Literal["sample", "greedy", "beam", "beam-sample", "stochastic-beam", "uniform"] = (
        option(
            "sample",
            "`sample` draws each token, `greedy` takes the likeliest, `beam` searches for the best "
            "text, `beam-sample` draws the hypotheses of a beam, `stochastic-beam` draws texts "
            "without replacement; `uniform` is for grammars: every way to make a text is equally "
            "likely",
            "`sample` 逐个抽样，`greedy` 取最可能的词元，`beam` 用束搜索找得分最高的文本，"
            "`beam-sample` 随机抽取束中的候选，`stochastic-beam` 不放回地抽取整篇文本；`uniform` "
            "用于语法：每种生成方式机会均等",
            unset="beam; sample where the task is completion or dialogue",
            unset_zh="beam；续写和对话任务为 sample",
        )
    )
    max_tokens: int = option(
        256,
        "the most tokens to write",
        "最多生成的词元数",
        minimum=1,
        unset="256; pairs: the longest target's",
        unset_zh="256；成对数据：最长目标的长度",
    )
    min_tokens: int = option(
        0, "the text may not end before it has this many tokens", "至少生成的词元数", minimum=0
    )
    temperature: float = option(
        1.0,
        "below 1 the likely becomes likelier, above 1 less likely; 0 is greedy",
        "低于 1 更偏向高概率词元，高于 1 更分散；0 即贪心",
        minimum=0,
        below=math.inf,
        unset="what the run's card says, or 0.8",
        unset_zh="模型卡中的值，或 0.8",
    )
    top_k: int = option(
        0, "keep the k likeliest tokens; 0: all", "只保留概率最高的 k 个词元；0：全部", minimum=0
    )
    top_p: float = option(
        1.0,
        "keep the likeliest tokens that together have probability p (Holtzman et al. 2020)",
        "只保留累计概率达到 p 的高概率词元（Holtzman et al. 2020）",
        above=0,
        maximum=1,
        unset="what the run's card says, or 1; dialogue: 0.9",
        unset_zh="模型卡中的值，或 1；对话为 0.9",
    )
    min_p: float = option(
        0.0,
        "keep the tokens whose probability is at least this share of the likeliest one's (Nguyen "
        "et al. 2024)",
        "只保留概率不低于最高概率这一比例的词元（Nguyen et al. 2024）",
        minimum=0,
        maximum=1,
    )
    typical_p: float = option(
        1.0,
        "keep the tokens of most typical information that together have probability p (Meister "
        "et al. 2023)",
        "只保留信息量最典型、累计概率达到 p 的词元（Meister et al. 2023）",
        above=0,
        maximum=1,
    )
    repetition_penalty: float = option(
        1.0,
        "divides the logits of tokens in the prompt or the output (Keskar et al. 2019); above 1 "
        "discourages repetition",
        "除以提示或输出中已出现词元的 logits（Keskar et al. 2019）；大于 1 抑制重复",
        minimum=0.01,
        maximum=100,
    )
    presence_penalty: float = option(
        0.0,
        "subtracted once from the logits of tokens already written",
        "已写出的词元，其 logits 减去一次此值",
        minimum=-100,
        maximum=100,
    )
    frequency_penalty: float = option(
        0.0,
        "subtracted from the logits of a token for each time it was written",
        "词元每写出一次，其 logits 减去一次此值",
        minimum=-100,
        maximum=100,
    )
    no_repeat_ngram: int = option(
        0,
        "no n-gram of this length occurs twice in prompt and output; 0: it may",
        "提示和输出中不重复出现这一长度的 n-gram；0：不限",
        minimum=0,
    )
    logit_bias: tuple[tuple[int, float], ...] = option(
        (),
        "added to the logits of single tokens; −inf forbids",
        "加到单个词元 logits 上的值；−inf 表示禁止",
        metavar="TEXT=AMOUNT",
    )
    stop: tuple[str, ...] = option(
        (),
        "the text ends before the first of these strings",
        "遇到这些字符串中的任何一个即在其前结束",
    )
    seed: int = option(
        0,
        "the same seed and request give the same text",
        "相同的种子和请求得到相同的文本",
        minimum=0,
        maximum=2**63 - 1,
        unset="a new one, which is printed",
        unset_zh="新的种子，会显示出来",
    )
    same_length: bool = option(
        False,
        "an answer has as many characters as its source",
        "答句与源文字数相同",
        unset="yes, if all training pairs had",
        unset_zh="训练数据都如此时为是",
    )
    unseen_characters: bool = option(
        False,
        "also write characters that neither the training text nor the prompt contains",
        "也允许写出训练文本和提示中都没有的字符",
    )
    beam_width: int = option(
        5, "number of hypotheses in a beam", "束宽：束搜索保留的候选数", minimum=1, maximum=1000
    )
    length_penalty: float = option(
        0.6,
        "how strongly a beam makes up for the cost of length: 0 not at all, 1 compares the mean of "
        "the tokens",
        "长度惩罚：束搜索对长度的补偿，0 为不补偿，1 为按词元平均比较",
        minimum=0,
        maximum=10,
    )
    length_penalty_form: Literal["power", "gnmt"] = option(
        "power",
        "a beam divides scores by the length to the `power` of length_penalty, or as `gnmt` (Wu "
        "et al. 2016, equation 14)",
        "得分的归一化方式：除以长度的 length_penalty 次方（`power`），或按 `gnmt`（Wu et al. 2016，"
        "式 14）",
    )
    coverage_penalty: float = option(
        0.0,
        "how much a beam prefers texts that leave nothing of the source out (Wu et al. 2016)",
        "覆盖惩罚：束搜索偏向不遗漏源文的程度（Wu et al. 2016）",
        minimum=0,
        maximum=100,
    )
    early_stopping: Literal["exact", "never", "false", "true"] = option(
        "exact",
        "when a beam ends: `exact`, when no text can become one of the best; `never`, `false` and "
        "`true` are the rules of transformers",
        "束搜索何时结束：`exact` 直到没有文本还能进入最优之列；`never`、`false`、`true` 为 "
        "transformers 的规则",
    )
    beam_groups: int = option(
        1,
        "number of groups in a beam that are kept different from each other (Vijayakumar et al. "
        "2018); it must divide `beam_width`",
        "束分成的组数，各组彼此不同（Vijayakumar et al. 2018）；须整除 `beam_width`",
        minimum=1,
    )
    diversity_penalty: float = option(
        0.5,
        "subtracted from a token in a group for each earlier group that chose it at the same step",
        "较前的组在同一步选过某词元，每有一组减去一次此值",
        minimum=0,
        maximum=100,
    )
    mbr: (
        Literal["bleu", "chrf", "ter", "rouge1", "rouge2", "rougeL", "exact", "edit-distance"]
        | None
    ) = option(
        None,
        "draw mbr_samples texts and return the one that agrees best with all of them by this "
        "metric: minimum Bayes risk (Eikema & Aziz 2022)",
        "抽取 mbr_samples 篇文本，返回按此指标与其余文本最一致的一篇：最小贝叶斯风险解码（Eikema & "
        "Aziz 2022）",
    )
    mbr_samples: int = option(
        32,
        "number of texts that are drawn for mbr",
        "最小贝叶斯风险解码抽取的文本数",
        minimum=2,
        maximum=256,
    )
    unmask_order: Literal["random", "confidence", "left"] = option(
        "random",
        "order in which a masked model fills tokens: `random` (Sahoo et al. 2024), by "
        "`confidence`, the surest first (Ghazvininejad et al. 2019), or from the `left`",
        "掩码模型填出词元的次序：`random` 随机（Sahoo et al. 2024），`confidence` 先填最有把握的"
        "（Ghazvininejad et al. 2019），`left` 从左到右",
    )
    unmask_steps: int = option(
        0,
        "number of steps in which a masked model fills its tokens; 0: one for each token",
        "掩码模型用多少步填完；0：每步一个词元",
        minimum=0,
    )
    unmask_schedule: Literal["linear", "cosine"] = option(
        "linear",
        "`linear`: equally many tokens at each step; `cosine`: few at first",
        "`linear` 每步填同样多，`cosine` 起初填得少",
    )
    remask: bool = option(
        False,
        "let a masked model hide tokens again and choose them anew",
        "允许掩码模型重新遮住已填的词元再选",
    )
    gap_tokens: int = option(
        0,
        "number of tokens in a gap ____; 0: the length from 1 to 16 that suits it best",
        "空缺 ____ 的词元数；0：在 1 到 16 中取最合适的长度",
        minimum=0,
    )
    max_depth: int | None = option(
        None,
        "of a grammar's text: how many rules may be nested; null: as the grammar says",
        "语法所写文本的规则嵌套层数上限；null：按语法的规定",
        minimum=1,
        maximum=200,
    )

    def __post_init__(self) -> None:
        for wrong in invalid_options(self):
            self._refuse(wrong.name, wrong.wanted)
        if self.min_tokens > self.max_tokens:
            self._refuse("min_tokens", "from 0 to max_tokens")
        if not all(token >= 0 and amount <= 1e4 for token, amount in self.logit_bias):  # or NaN
            self._refuse("logit_bias", "pairs of a token id and an amount of at most 10000")
        if not all(self.stop):
            self._refuse("stop", "strings that are not empty")
        if self.beam_width % self.beam_groups:
            self._refuse(
                "beam_groups", f"at least 1, and divide the beam_width of {self.beam_width}"
            )

        if self.mbr is not None and (self.searches or not self.draws):
            self._refuse("mbr", "used with method=sample and a temperature above 0")
        if self.searches and self.method != "beam" and self.temperature == 0:
            self._refuse("temperature", f"above 0 with method={self.method}")

    def _refuse(self, name: str, wanted: str) -> NoReturn:
        raise ValueError(f"{name}={format_value(getattr(self, name))}: must be {wanted}")

    @property
    def greedy(self) -> bool:
        """Whether the likeliest token is always taken."""
        return self.method == "greedy" or (self.method == "sample" and self.temperature == 0)

    @property
    def draws(self) -> bool:
        """Whether tokens are drawn at random."""
        return self.method not in ("greedy", "beam") and not self.greedy

    @property
    def searches(self) -> bool:
        """Whether several texts are written side by side and the best of them are returned."""
        return self.method in ("beam", "beam-sample", "stochastic-beam")

    @property
    def unmasks(self) -> bool:
        """Whether a model that fills gaps writes in its own way, and not from left to right."""
        return not self.searches and self.unmask_order != "left"

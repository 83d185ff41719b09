"""The settings of a request: how its tokens are chosen."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, NoReturn, TypeAlias

from wenmo.config import format_value
from wenmo.options import Settings, invalid_options, option

Method: TypeAlias = Literal[
    "sample", "greedy", "beam", "beam-sample", "stochastic-beam", "contrastive", "uniform"
]
CONTRASTIVE_CANDIDATES = 4
"""Tokens that contrastive search looks at without a ``top_k``, as in Su et al. (2022)."""

DRY_BREAKERS = ("\n", ":", '"', "*", "：", "“", "”")
READING: dict[str, tuple[str, ...]] = {
    "logit_bias": (),
    "repetition_penalty": (),
    "presence_penalty": (),
    "frequency_penalty": (),
    "dry_multiplier": ("dry_base", "dry_allowed_length", "dry_sequence_breakers"),
    "no_repeat_ngram": (),
    "min_tokens": (),
}
CUTTING: dict[str, tuple[str, ...]] = {
    "temperature": ("dynatemp_range", "dynatemp_exponent"),
    "top_n_sigma": (),
    "top_k": (),
    "tfs_z": (),
    "typical_p": (),
    "top_p": (),
    "min_p": (),
    "epsilon_cutoff": (),
    "eta_cutoff": (),
    "xtc_probability": ("xtc_threshold",),
    "mirostat": ("mirostat_tau", "mirostat_eta"),
}
PROCESSORS = READING | CUTTING
"""The logits processors in their default order: the setting that turns each on, and its other
settings. Those of `CUTTING` apply only where tokens are drawn."""

DRAWING = frozenset(
    ["mbr", *(name for main, others in CUTTING.items() for name in (main, *others))]
)
"""Settings of ``method=sample``: naming one without a method chooses that method."""


@dataclass(frozen=True)
class Sampling(Settings):
    """The settings of generation. The defaults do not change the distribution of the model.

    Raises:
        ValueError: a value out of range; the message names the field.
    """

    method: Method = option(
        "sample",
        "`sample` draws each token, `greedy` takes the likeliest, `beam` searches for the best "
        "text, `beam-sample` draws the hypotheses of a beam, `stochastic-beam` draws texts "
        "without replacement, `contrastive` avoids tokens like those before; `uniform` is for "
        "grammars: every way to make a text is equally likely",
        "`sample` 逐个抽样，`greedy` 取最可能的词元，`beam` 用束搜索找得分最高的文本，"
        "`beam-sample` 随机抽取束中的候选，`stochastic-beam` 不放回地抽取整篇文本，"
        "`contrastive` 避开与前文相似的词元；`uniform` 用于语法：每种生成方式机会均等",
        unset="beam; sample where the task is completion or dialogue",
        unset_zh="beam；续写和对话任务为 sample",
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
    epsilon_cutoff: float = option(
        0.0,
        "keep the tokens of at least this probability (Hewitt et al. 2022); 0: all",
        "只保留概率不低于此值的词元（Hewitt et al. 2022）；0：全部",
        minimum=0,
        below=1,
    )
    eta_cutoff: float = option(
        0.0,
        "as epsilon_cutoff, with a lower bound where the entropy is high (Hewitt et al. 2022); 0: "
        "all",
        "同 epsilon_cutoff，但熵高时下限降低（Hewitt et al. 2022）；0：全部",
        minimum=0,
        below=1,
    )
    top_n_sigma: float = option(
        0.0,
        "keep the tokens whose logits are at most so many standard deviations below the largest "
        "(Tang et al. 2024); 0: all",
        "只保留 logits 与最大值相差不超过若干个标准差的词元（Tang et al. 2024）；0：全部",
        minimum=0,
        maximum=100,
    )
    tfs_z: float = option(
        1.0,
        "tail-free sampling: cut where the curve of sorted probabilities becomes flat; 1: no cut",
        "无尾采样：在按概率排序的曲线变平处截断；1：不截断",
        above=0,
        maximum=1,
    )
    dynatemp_range: float = option(
        0.0,
        "dynamic temperature: `temperature` minus to plus this number, the higher the entropy, the "
        "higher",
        "动态温度：在 `temperature` 加减此值之间，熵越高温度越高",
        minimum=0,
        maximum=100,
    )
    dynatemp_exponent: float = option(
        1.0,
        "power of the entropy, as a share of the largest possible, that sets the dynamic "
        "temperature",
        "动态温度取相对熵的若干次方",
        above=0,
        maximum=100,
    )
    xtc_probability: float = option(
        0.0,
        "exclude top choices (XTC): with this probability at each token, remove all tokens above "
        "`xtc_threshold` but the least likely of them",
        "排除首选（XTC）：每个位置以此概率去掉高于 `xtc_threshold` 的词元，只留其中概率最低的一个",
        minimum=0,
        maximum=1,
    )
    xtc_threshold: float = option(
        0.1,
        "the least probability of a top choice; above 0.5 there is at most one, which is kept",
        "首选词元的最低概率；高于 0.5 时至多一个，予以保留",
        minimum=0,
        maximum=1,
    )
    mirostat: Literal[0, 1, 2] = option(
        0,
        "keep the surprise of the text near mirostat_tau (Basu et al. 2021): `1` by top-k under "
        "Zipf's law, `2` by cutting at a surprise; `0`: off",
        "使文本的惊异度保持在 mirostat_tau 附近（Basu et al. 2021）：`1` 按 Zipf 定律取 top-k，`2` "
        "按惊异度截断；`0`：关",
    )
    mirostat_tau: float = option(
        5.0,
        "target surprise of mirostat in bits per token",
        "mirostat 的目标惊异度，单位为每词元比特",
        above=0,
        maximum=100,
    )
    mirostat_eta: float = option(
        0.1,
        "learning rate of mirostat",
        "mirostat 的学习率",
        above=0,
        maximum=10,
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
    dry_multiplier: float = option(
        0.0,
        "DRY: penalty of a token that would continue a repeated sequence: the multiplier times "
        "dry_base to the power of the sequence's length minus dry_allowed_length; 0: none",
        "DRY：会延续重复序列的词元所受的惩罚：此值乘以 dry_base 的（序列长度减 "
        "dry_allowed_length）次方；0：无",
        minimum=0,
        maximum=100,
    )
    dry_base: float = option(
        1.75,
        "base of the penalty of DRY",
        "DRY 惩罚的底数",
        minimum=1,
        maximum=100,
    )
    dry_allowed_length: int = option(
        2,
        "the shortest repeated sequence in tokens whose continuation DRY penalises",
        "DRY 开始惩罚的最短重复序列，单位为词元",
        minimum=1,
    )
    dry_sequence_breakers: tuple[str, ...] = option(
        DRY_BREAKERS,
        "strings that no repeated sequence of DRY extends across",
        "DRY 的重复序列不跨越的字符串",
    )
    no_repeat_ngram: int = option(
        0,
        "no n-gram of this length occurs twice in prompt and output; 0: it may",
        "提示和输出中不重复出现这一长度的 n-gram；0：不限",
        minimum=0,
    )
    chain: tuple[str, ...] = option(
        (),
        "the logits processors with their settings in the order of application, and no others: "
        "`temperature=0.8,top_p=0.95`",
        "按应用次序写出 logits 处理器及其设置，此外不用其他处理器：`temperature=0.8,top_p=0.95`",
        metavar="NAME=VALUE,...",
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
    token_healing: bool = option(
        False,
        "where the prompt ends within a token, do not read what it has of it, but let the text "
        "begin with these bytes",
        "提示在一个词元中间结束时，不读入其开头部分，而让输出以这些字节开头",
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
    penalty_alpha: float = option(
        0.6,
        "contrastive search: weight of the similarity to earlier tokens against the probability, "
        "for the top_k likeliest tokens, or 4 (Su et al. 2022)",
        "对比搜索：与前文的相似度相对于概率的权重；候选为最可能的 top_k 个词元，未设则为 4 个",
        minimum=0,
        maximum=1,
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
        for name in ("stop", "dry_sequence_breakers"):
            if not all(getattr(self, name)):
                self._refuse(name, "strings that are not empty")
        if self.beam_width % self.beam_groups:
            self._refuse(
                "beam_groups", f"at least 1, and divide the beam_width of {self.beam_width}"
            )
        if self.mbr is not None and (self.searches or not self.draws):
            self._refuse("mbr", "used with method=sample and a temperature above 0")
        if self.searches and self.method != "beam" and self.temperature == 0:
            self._refuse("temperature", f"above 0 with method={self.method}")
        if self.searches and self.method != "beam" and self.mirostat:
            self._refuse("mirostat", f"0 with method={self.method}, whose texts share no surprise")
        if len({*self.chain} & PROCESSORS.keys()) < len(self.chain):
            self._refuse("chain", f"different names out of {', '.join(PROCESSORS)}")
        # Equal orders of what is on are equal settings, whatever else the chain names.
        object.__setattr__(self, "chain", self._shortest_chain())

    def _shortest_chain(self) -> tuple[str, ...]:
        """The order of the processors that are on; empty where it is the default order.

        What the chain does not name comes before it if it reads the text, else behind it.
        """
        default = tuple(name for name in PROCESSORS if self.is_on(name))
        named = tuple(name for name in self.chain if name in default)
        rest = [name for name in default if name not in named]
        reading = tuple(name for name in rest if name in READING)
        order = reading + named + tuple(name for name in rest if name in CUTTING)
        return () if order == default else order

    def is_on(self, processor: str) -> bool:
        """Whether the settings turn a processor on, one of `PROCESSORS`."""
        default = type(self).__dataclass_fields__[processor].default
        dynamic = processor == "temperature" and self.dynatemp_range > 0
        return dynamic or getattr(self, processor) != default

    @property
    def order(self) -> tuple[str, ...]:
        """The processors that are on, in the order of application."""
        return self.chain or tuple(name for name in PROCESSORS if self.is_on(name))

    def _refuse(self, name: str, wanted: str) -> NoReturn:
        raise ValueError(f"{name}={format_value(getattr(self, name))}: must be {wanted}")

    @property
    def greedy(self) -> bool:
        """Whether the likeliest token is always taken."""
        return self.method == "greedy" or (self.method == "sample" and self.temperature == 0)

    @property
    def draws(self) -> bool:
        """Whether tokens are drawn at random."""
        return self.method not in ("greedy", "beam", "contrastive") and not self.greedy

    @property
    def searches(self) -> bool:
        """Whether several texts are written side by side and the best of them are returned."""
        return self.method in ("beam", "beam-sample", "stochastic-beam")

    @property
    def cuts(self) -> bool:
        """Whether the processors of `CUTTING` apply: tokens are drawn one by one."""
        return self.draws and self.method != "uniform"

    @property
    def candidates(self) -> int:
        """The number of tokens that contrastive search looks at."""
        return self.top_k or CONTRASTIVE_CANDIDATES

    @property
    def unmasks(self) -> bool:
        """Whether a model that fills gaps writes in its own way, and not from left to right."""
        return not self.searches and self.unmask_order != "left"

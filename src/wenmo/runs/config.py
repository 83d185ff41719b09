"""The tables of a run's settings beside the model's, two of which are declared here: what training
begins from, and the n-gram counts beside a network.
"""

from __future__ import annotations

from dataclasses import dataclass

from wenmo.options import Settings, option
from wenmo.text.config import ReadConfig, SplitConfig, TaskConfig, TokenizerConfig
from wenmo.train_config import TrainConfig


@dataclass(frozen=True)
class NgramPriorConfig(Settings):
    """Settings of the n-gram counts that are mixed with a network.

    Raises:
        ValueError: a value out of range, more ``folds_used`` than ``folds``, or ``breaks`` that
            are not different token ids.
    """

    enabled: bool | None = option(
        None,
        "whether n-gram counts of the training text stand beside the network: `--prior ngram` says "
        "`true`, `--prior none` `false`; null (`--prior auto`): where they suit the text and the "
        "time",
        "网络旁是否使用训练文本的 n-gram 计数：`--prior ngram` 为 `true`，`--prior none` 为 "
        "`false`；null（`--prior auto`）：按文本和时间决定",
    )
    order: int | None = option(
        None,
        "length of the longest n-grams; null: 7 where tokens are letters, else 5",
        "最长 n-gram 的长度；null：词元为字母时 7，否则 5",
        minimum=2,
    )
    folds: int = option(
        5,
        "parts of the text, each scored by the counts of all others",
        "文本分成几份，每份由其余各份的计数打分",
        minimum=2,
    )
    folds_used: int | None = option(
        None,
        "how many of the folds, from the first on, the network is trained on; null: as many as the "
        "minutes allow; pairs always use all",
        "网络训练所用的份数（从第一份起）；null：时间允许的份数；成对数据总是用全部",
    )
    extensible: bool | None = option(
        None,
        "keep how often each n-gram was seen, so that training can continue from the run; null: "
        "yes",
        "保留每个 n-gram 的次数，以便从该运行继续训练；null：是",
    )
    breaks: tuple[int, ...] | None = option(
        None,
        "ids of the tokens that end a line or a text, which have mixture weights of their own; "
        "null: found in the vocabulary; `[]`: one weight for all tokens",
        "结束一行或一篇的词元编号，它们有单独的混合权重；null：从词表中找出；`[]`：所有词元共用权重",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.folds_used is not None and not 1 <= self.folds_used <= self.folds:
            raise ValueError("folds_used must be at least 1, and at most as many as folds")
        breaks = self.breaks or ()
        if min(breaks, default=0) < 0 or len(set(breaks)) < len(breaks):
            raise ValueError("breaks must be different token ids, from 0 on")


@dataclass(frozen=True)
class InitConfig(Settings):
    """Settings of the initialization of a model, and of the weights that are trained.

    Raises:
        ValueError: a value out of range, or adapters together with frozen blocks.
    """

    base: str | None = option(
        None,
        "a pretrained model or a run to begin from; null: random weights",
        "作为起点的预训练模型或运行；null：随机权重",
    )
    lora_rank: int = option(
        0,
        "rank of the adapters (LoRA), which alone are trained; 0: no adapters, the weights "
        "themselves are trained",
        "适配器（LoRA）的秩，此时只训练适配器；0：不用适配器，直接训练权重",
        minimum=0,
    )
    lora_alpha: float | None = option(
        None,
        "scale of the adapters, divided by their rank; null: twice the rank",
        "适配器的缩放系数，除以秩；null：秩的两倍",
        above=0,
    )
    lora_targets: tuple[str, ...] = option(
        (),
        "names of the layers that get adapters; `[]`: all linear layers of the blocks",
        "加适配器的层名；`[]`：各块的全部线性层",
    )
    trainable_blocks: int | None = option(
        None,
        "train only this many of the last blocks, and what follows them; null: everything",
        "只训练最后多少个块及其后的层；null：全部训练",
        minimum=0,
    )
    gradual_unfreezing: bool = option(
        False,
        "begin with what follows the blocks, and unfreeze one block more, from the last on, in "
        "each equal part of the first half (Howard & Ruder 2018)",
        "先训练块之后的层，在前一半训练中从最后一块起逐块解冻（Howard & Ruder 2018）",
    )
    encoder: str | None = option(
        None,
        "a run whose weights the encoder of an encoder–decoder begins with; settings that are not "
        "given, and the tokenizer, are those of that run",
        "为编码器–解码器的编码器提供初始权重的运行；未给出的设置和分词器取自该运行",
    )
    decoder: str | None = option(None, "the same for the decoder", "解码器的初始权重，同上")
    word_vectors: str | None = option(
        None,
        "a file of word vectors, as word2vec or GloVe write text, that the embeddings of the same "
        "words begin with, or a run, for the embeddings of the same tokens",
        "词向量文件（word2vec 或 GloVe 的文本格式），相同词的嵌入以其为初始值；或一个运行，"
        "取相同词元的嵌入",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.lora_rank and (self.trainable_blocks is not None or self.gradual_unfreezing):
            raise ValueError(
                "adapters (lora_rank) leave the blocks as they are: without trainable_blocks or "
                "gradual_unfreezing"
            )

    @property
    def scale(self) -> float:
        """The adapters' alpha."""
        return float(self.lora_alpha if self.lora_alpha is not None else 2 * self.lora_rank)


TABLES: dict[str, type[Settings]] = {  # of a run, beside the model's
    "ngram_prior": NgramPriorConfig,
    "init": InitConfig,
    "task": TaskConfig,
    "tokenizer": TokenizerConfig,
    "read": ReadConfig,
    "split": SplitConfig,
    "train": TrainConfig,
}

"""How text is read, split, cut into tokens, and made into a task: the settings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from wenmo.options import Settings, option

Format: TypeAlias = Literal[
    "text", "jsonl", "json", "dictionary", "csv", "tsv", "parquet", "tmx", "whatsapp", "wechat"
]

KeptSide = Literal["beginning", "end"]

MISSING_VALUES = (
    *("NULL", "Null", "null", "N/A", "n/a", "NA", "<NA>", "#N/A", "#NA", "NaN", "nan", "None"),
    *("none", "\\N", "无"),
)
"""Cells of a table that hold one of these words, and nothing else, are missing."""


@dataclass(frozen=True)
class ReadConfig(Settings):
    """How text is read."""

    unit: Literal["document", "paragraph", "line"] = option(
        "document",
        "what one record of plain text is: `document` (the whole file), `paragraph` (between blank "
        "lines) or `line`",
        "纯文本的一条记录：`document`（整个文件）、`paragraph`（空行之间）或 `line`（一行）",
        flag="unit",
    )
    text_field: str | None = option(
        None,
        "column or key of the text; a dot goes into a nested object; a whole number chooses a "
        "column of a CSV or TSV file without a header line, from 1",
        "文本所在的列或键；点号进入嵌套对象；没有表头的 CSV 或 TSV 用列号（从 1 起）",
        flag="text-field",
    )
    source_field: str | None = option(
        None,
        "column or key of the source, for pairs; several fields, with commas between them, are "
        "joined by newlines",
        "成对数据中源文所在的列或键；多个字段以逗号分隔，内容用换行连接",
        flag="source-field",
    )
    encoding: str | None = option(
        None,
        "of the text files, such as `gb18030`, `big5` or `cp1252`",
        "文本文件的编码，如 `gb18030`、`big5`、`cp1252`",
        unset="detected",
        unset_zh="自动检测",
        flag="encoding",
    )
    format: Format | None = option(
        None,
        "format of the file, whatever its suffix is: `text`, `jsonl`, `json`, `dictionary`, `csv`, "
        "`tsv`, `parquet`, `tmx`, `whatsapp` or `wechat`",
        "文件格式，不论后缀：`text`、`jsonl`、`json`、`dictionary`、`csv`、`tsv`、`parquet`、"
        "`tmx`、`whatsapp` 或 `wechat`",
        unset="by the suffix",
        unset_zh="由后缀决定",
    )
    group_field: str | None = option(
        None,
        "for dialogue with one message a row: the field that names the conversation",
        "用于每行一条消息的对话：标明所属会话的字段",
        flag="group-field",
    )
    speaker_field: str | None = option(
        None,
        "for dialogue with one message a row: the field that names the speaker",
        "用于每行一条消息的对话：标明说话人的字段",
        flag="speaker-field",
    )
    records_key: str | None = option(
        None,
        "key of a JSON object under which the records are; null: the only list of objects",
        "JSON 对象中存放记录的键；null：唯一的对象列表",
    )
    missing_values: tuple[str, ...] = option(
        MISSING_VALUES,
        "cells of CSV and TSV that hold one of these words alone are missing; `[]`: every word is "
        "text",
        "CSV 和 TSV 中只含这些词之一的单元格视为缺失；`[]`：所有词都是文本",
    )
    markup: Literal["strip", "keep"] = option(
        "strip",
        "`strip`: HTML and Markdown are read as the text that they show; `keep`: as they are",
        "`strip`：HTML 和 Markdown 只取其显示的文字；`keep`：原样读取",
    )

    @property
    def fields(self) -> list[str]:
        """The fields chosen by the user."""
        chosen = (self.text_field, self.source_field, self.group_field, self.speaker_field)
        return [field for field in chosen if field]


@dataclass(frozen=True)
class TaskConfig(Settings):
    """What is learnt from each record.

    Raises:
        ValueError: a value out of range, or ``reply_speakers`` without a dialogue.
    """

    name: Literal[
        "completion",
        "translation",
        "summarization",
        "paraphrase",
        "data-to-text",
        "dialogue",
        "infilling",
    ] = option(
        "completion",
        "what the model learns: `completion`, `translation`, `summarization`, `paraphrase`, "
        "`data-to-text`, `dialogue` or `infilling`",
        "模型学习的任务：`completion`（续写）、`translation`（翻译）、`summarization`（摘要）、"
        "`paraphrase`（改写）、`data-to-text`（数据到文本）、`dialogue`（对话）"
        "或 `infilling`（填空）",
        flag="task",
    )
    control: tuple[str, ...] = option(
        (),
        "fields whose values become control codes before each source (Keskar et al. 2019, CTRL)",
        "取值作为控制码放在源文之前的字段（Keskar et al. 2019，CTRL）",
    )
    history: int = option(
        6,
        "for `dialogue`: the most turns before a reply that are read",
        "用于 `dialogue`：回复之前最多读多少轮",
    )
    reply_speakers: tuple[str, ...] = option(
        (),
        "for `dialogue`: only turns of these speakers are replies, as `reply_speakers=Agent`; "
        "`[]`: the assistant, or everybody where there is none",
        "用于 `dialogue`：只有这些说话人的话算作回复，如 `reply_speakers=Agent`；`[]`：助手，"
        "没有助手时为所有人",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.history < 1:
            raise ValueError(f"history={self.history}: at least 1 turn comes before a reply")
        if self.reply_speakers and self.name != "dialogue":
            raise ValueError("reply_speakers is for conversations: pass --task dialogue")

    @property
    def paired(self) -> bool:
        """Whether there is a source: everywhere but in completion without control codes."""
        return self.name != "completion" or bool(self.control)


@dataclass(frozen=True)
class TokenizerConfig(Settings):
    """What a tokenizer is made of."""

    kind: Literal["characters", "chars", "bytes", "words", "bpe", "unigram"] = option(
        "characters",
        "`characters` (or `chars`), `bytes`, `words`, `bpe` over bytes (Sennrich et al. 2016; "
        "Radford et al. 2019) or `unigram` (Kudo 2018)",
        "`characters`（或 `chars`，字符）、`bytes`（字节）、`words`（词）、`bpe`（字节级，"
        "Sennrich et al. 2016；Radford et al. 2019）或 `unigram`（Kudo 2018）",
        flag="tokenizer",
    )
    vocab_size: int | None = option(
        None,
        "the most tokens, 257 fixed ones included; null: all that are seen `min_count` times; for "
        "`bpe` and `unigram` a power of two between 512 and 8,192 that grows with the text (for "
        "`unigram`, besides the characters)",
        "词表大小上限，含 257 个固定词元；null：出现达 `min_count` 次的全部；`bpe` 与 `unigram` "
        "为随文本增长的 2 的幂，在 512 与 8,192 之间（`unigram` 不计字符）",
    )
    min_count: int = option(
        2,
        "what is seen less often is spelled: words in characters, characters in bytes",
        "出现次数更少的拆开表示：词拆成字符，字符拆成字节",
    )
    split: Literal["words", "spaces"] = option(
        "words",
        "for `words`: `words` separates words, numbers and punctuation, and finds the words in "
        "runs of Chinese characters; `spaces` splits at white space only",
        "用于 `words`：`words` 切分词、数字和标点，并对汉字串分词；`spaces` 只按空白切分",
    )
    run: str | None = option(
        None,
        "a run whose tokenizer is used, so that both have one vocabulary; the other settings of "
        "the tokenizer then have no effect",
        "沿用这一运行的分词器，使两者词表相同；此时分词器的其他设置无效",
        flag="tokenizer-from",
        metavar="RUN",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.kind == "chars":
            object.__setattr__(self, "kind", "characters")


@dataclass(frozen=True)
class SplitConfig(Settings):
    """What is held out.

    Raises:
        ValueError: a share that is not between 0 and 1.
    """

    valid: float | None = option(
        None,
        "share of the text that is held out; null: a tenth, but at most 1 MB",
        "留出文本的比例；null：十分之一，但至多 1 MB",
    )
    seed: int = option(0, "which records are held out", "决定留出哪些记录的种子", flag="seed")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.valid is not None and not 0 < self.valid < 1:
            raise ValueError(f"valid={self.valid}: the share to hold out lies between 0 and 1")

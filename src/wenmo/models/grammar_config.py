"""The settings of grammars."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from wenmo.models.config import ModelConfig
from wenmo.options import option


@dataclass(frozen=True)
class GrammarConfig(ModelConfig):
    """Settings of a grammar."""

    class_path: ClassVar[str] = "wenmo.models.grammar:GrammarModel"

    grammar: str = option(
        "",
        "the file of the grammar, in Tracery's JSON or the native TOML; a run keeps a copy",
        "语法文件，Tracery 的 JSON 或自有的 TOML；运行文件夹保留副本",
    )
    rounds: int = option(
        50,
        "the most rounds of learning the weights from text; fewer where nothing more is gained",
        "从文本学习权重的最多轮数；没有进一步改善时提前结束",
        minimum=1,
    )
    prior: float = option(
        1.0,
        "the weights of the file count as this many uses of each rule",
        "文件中的权重相当于每条规则使用这么多次",
        minimum=0,
        below=math.inf,
    )

"""What a text must be: the settings of constraints, checked before a model is loaded."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, NamedTuple

from wenmo.config import did_you_mean, from_dict
from wenmo.options import Settings, option
from wenmo.types import WenmoError

MAX_FILE = 4 << 20  # bytes of a schema or a grammar
LENGTH = re.compile(r"(\d{1,6})(-?)(\d{1,6})?([cwls])")


class TextLength(NamedTuple):
    """The length of a text: from ``least`` to ``most`` of a unit; inf: there is no bound.

    ``unit`` is ``c`` (characters), ``w`` (words), ``l`` (lines) or ``s`` (syllables).
    """

    least: int
    most: float
    unit: str

    def __str__(self) -> str:
        if self.least == self.most:
            return f"{self.least}{self.unit}"
        return f"{self.least}-{'' if self.most == math.inf else f'{self.most:g}'}{self.unit}"


@dataclass(frozen=True)
class ConstraintSettings(Settings):
    """What every text must be, without its prompt. All that are given hold at once.

    Raises:
        ValueError: a value that no text can meet; the message names the option.
    """

    regex: str | None = option(
        None,
        "the whole text matches this regular expression (syntax of Rust's `regex`, without "
        "lookaround)",
        "全文匹配这个正则表达式（Rust `regex` 的语法，不含环视）",
        metavar="REGEX",
    )
    json_schema: str | None = option(
        None,
        "the text is JSON that this JSON Schema accepts",
        "文本是符合这个 JSON Schema 的 JSON",
        metavar="FILE",
    )
    choice: tuple[str, ...] = option(
        (),
        "the text is one of these; repeatable",
        "文本是其中之一；可重复",
        metavar="TEXT",
    )
    lark: str | None = option(
        None,
        "the text is one of this context-free grammar, in Lark's or llama.cpp's (GBNF) notation",
        "文本符合这个上下文无关语法（Lark 或 llama.cpp 的 GBNF 写法）",
        metavar="FILE",
    )
    length: str | None = option(
        None,
        "the text has this length, or one in this range: `28c` characters, `20-30w` words, `14l` "
        "lines, `17s` syllables, `20-c` at least 20; several, as in `28c,4l`, hold at once",
        "文本的长度或长度范围：`28c` 字，`20-30w` 词，`14l` 行，`17s` 音节，`20-c` 至少 20 字；"
        "可同时限定几种，如 `28c,4l`",
        metavar="LENGTH",
    )
    require: tuple[str, ...] = option(
        (),
        "the text contains this, or one of several with bars between them; repeatable, in any "
        "order",
        "文本须包含的词句，用竖线隔开的几个则含其一即可；可重复，次序不限",
        metavar="TEXT",
    )
    forbid: tuple[str, ...] = option(
        (),
        "the text does not contain this; repeatable",
        "文本不得包含的词句；可重复",
        metavar="TEXT",
    )
    acrostic: str | None = option(
        None,
        "the lines begin with the characters of this text; with `end:` before it, they end so",
        "藏头：各行依次以这些字开头；写作 `尾:…` 则为藏尾",
        metavar="TEXT",
    )
    form: str | None = option(
        None,
        "the text is a poem of this form: its name, or a file in TOML",
        "诗体：名称，或 TOML 文件",
        metavar="FORM",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        for field in fields(self):
            value = getattr(self, field.name)
            if value == "" or (isinstance(value, tuple) and not all(value)):
                raise ValueError(f"{field.name}: is empty: give a text, or leave it out")
        if self.length is not None:
            parse_lengths(self.length)

    @property
    def given(self) -> tuple[str, ...]:
        """The names of the options that are set."""
        return tuple(f.name for f in fields(self) if getattr(self, f.name) not in (None, (), False))


NO_CONSTRAINTS = ConstraintSettings()
CONSTRAINTS = tuple(field.name for field in fields(ConstraintSettings))


def split_options(options: Mapping[str, Any]) -> tuple[ConstraintSettings, dict[str, Any]]:
    """The constraints among some options, with their files read, and the other options.

    Raises:
        WenmoError: a value of another type, one that no text can meet, or a file that cannot be
            read.
    """
    given = {name: value for name, value in options.items() if name in CONSTRAINTS}
    others = {name: value for name, value in options.items() if name not in CONSTRAINTS}
    schema = given.get("json_schema")
    if isinstance(schema, Mapping | bool):
        given["json_schema"] = json.dumps(schema, ensure_ascii=False)
    paths = {name: str(value) for name, value in given.items() if isinstance(value, Path)}
    return read_files(from_dict(ConstraintSettings, given | paths)), others


def read_files(settings: ConstraintSettings) -> ConstraintSettings:
    """The settings with the text of a schema or a grammar in place of its file's name.

    Raises:
        WenmoError: no such file, or a schema that is no JSON; the message has line and column.
    """
    if settings.json_schema is not None:
        text, where = _text(settings.json_schema, _is_schema, "json_schema")
        settings = replace(settings, json_schema=_check_json(text, where))
    if settings.lark is not None:
        text, where = _text(settings.lark, _is_grammar, "lark")
        if not text.strip():
            raise WenmoError(f"{where}: no rules: a grammar has a rule named start, or root")
        settings = replace(settings, lark=text)
    return settings


def parse_lengths(text: str) -> tuple[TextLength, ...]:
    """The lengths of a setting like ``28c``, ``20-30w`` or ``28c,4l``, which hold at once.

    Raises:
        ValueError: it has another form.
    """
    return tuple(_parse_length(each, text) for each in text.split(","))


def _parse_length(text: str, whole: str) -> TextLength:
    found = LENGTH.fullmatch(text.strip())
    if found is None or (found[3] and not found[2]):
        raise ValueError(
            f"length={whole}: write a number or a range and its unit, as in 28c (characters), "
            "20-30w (words), 14l (lines) or 17s (syllables)"
        )
    least = int(found[1])
    most = float(found[3]) if found[3] else math.inf if found[2] else least
    if not 0 < least <= most:
        raise ValueError(f"length={whole}: must be at least 1, and a range must ascend")
    return TextLength(least, most, found[4])


def alternatives(required: str) -> list[str]:
    """``A|B`` as a list; a bar at an end is one of the text's own."""
    parts = required.split("|")
    return parts if all(parts) else [required]


def _is_schema(text: str) -> bool:
    return text.lstrip().startswith("{") or text.strip() in ("true", "false")


def _is_grammar(text: str) -> bool:
    return "\n" in text or re.match(r"\s*(start\s*:|root\s*::=)", text) is not None


def _text(given: str, is_text: Any, name: str) -> tuple[str, str]:
    """The text of an option that may name a file, and how messages call it."""
    if is_text(given):
        return given, name
    path = Path(given)
    try:
        if path.stat().st_size > MAX_FILE:
            raise WenmoError(f"{path}: larger than the {MAX_FILE >> 20} MB limit of {name}")
        return path.read_text(encoding="utf-8-sig"), str(path)
    except FileNotFoundError:
        siblings = [other.name for other in path.parent.glob("*")]
        raise WenmoError(f"{path}: no such file{did_you_mean(path.name, siblings)}") from None
    except UnicodeDecodeError:
        raise WenmoError(f"{path}: not UTF-8: save it as UTF-8") from None
    except (OSError, ValueError) as error:
        raise WenmoError(f"{path}: cannot be read: {error}") from None


def _check_json(text: str, where: str) -> str:
    try:
        schema = json.loads(text)
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}"
        raise WenmoError(f"{where}: {place}: not valid JSON: {error.msg}") from None
    except RecursionError:
        raise WenmoError(f"{where}: nested too deeply") from None
    if not isinstance(schema, dict | bool):
        raise WenmoError(f"{where}: a JSON Schema is an object, true or false")
    return text

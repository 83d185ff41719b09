"""Chats as WhatsApp and WeChat export them: texts in, conversations out.

    12/31/20, 9:15 PM - Ann: Hello         WhatsApp on Android, day and month in any order
    [31.12.20, 21:15:30] Ann: Hello        WhatsApp on iPhone
    [2020/12/31 下午9:15:30] 小安: 你好
    小安 2020/12/31 21:15:30               WeChat and QQ: the message follows, on lines of its own
    2020-12-31 21:15:30 小安

Lines without a time belong to the message before them. Messages of one speaker in a row are one
turn. A conversation ends with the day, and after an hour in which nobody speaks: so the order of
day and month does not matter. What nobody wrote (who joined, that a message was deleted) and what
is no text (a picture, a call) is left out and counted.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Literal, NamedTuple, TypeAlias

from wenmo.text.formats import numbered_lines

Kind: TypeAlias = Literal["whatsapp", "wechat"]

SILENCE = 60
"""The minutes of silence after which another conversation begins."""

FEWEST_MESSAGES = 3
"""So many lines that begin a message make a text a chat."""

_DAY = r"(?P<day>\d{1,4}[-/.年] ?\d{1,2}[-/.月] ?\d{1,4}\.?日?)"
_CLOCK = (
    r"(?P<half>上午|下午|凌晨|早上|中午|晚上)? ?(?P<hour>\d{1,2})[:.](?P<minute>\d{2})"
    r"(?:[:.]\d{2})?(?: ?(?P<pm>[AaPp])\.? ?[Mm]\.?)?"
)
_NAME = r"(?P<name>\S.{0,39}?)"
_WHATSAPP = (
    re.compile(rf"\[{_DAY}[,،]? {_CLOCK}\] ?(?P<said>.*)"),
    re.compile(rf"{_DAY}[,،]? {_CLOCK} [-–] (?P<said>.*)"),
)
_SPOKEN = re.compile(r"(?P<name>[^:：\"“]{1,40}): ?(?P<text>.*)")
_WEEKDAY = r"(?P<day>今天|昨天|前天|(?:星期|周)[一二三四五六日天])"
_WECHAT = (
    re.compile(rf"{_NAME}[:：]?[ \t]+{_DAY} {_CLOCK}"),
    re.compile(rf"{_NAME}[:：]?[ \t]+{_WEEKDAY} {_CLOCK}"),
    re.compile(rf"[\[(（]?{_DAY} {_CLOCK}[\])）]? ?[ \t]{_NAME}(?:[:：] ?(?P<text>.*))?"),
)
_WECHAT_DATE = re.compile(rf"[—\-=]{{2,}} *{_DAY} *[—\-=]{{2,}}")
_WECHAT_TIME = re.compile(rf"{_NAME}[ \t]+{_CLOCK}")
_INVISIBLE = re.compile("[\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff]")
_SPACES = re.compile("[\u00a0\u202f\u3000]")

_THINGS = (
    r"image|photo|picture|video|audio|voice|sticker|gif|document|file|link|location|contact card"
    r"|图片|照片|视频|语音|音频|动画表情|表情|文件|文档|链接|位置|红包|微信红包|转账|名片|小程序"
    r"|聊天记录|贴图|媒体"
)
_NO_TEXT = re.compile(
    rf"(\[({_THINGS})[^\]]*\]\s*)+"
    rf"|<[^<>]*(omitted|attached|ausgeschlossen|omitid[oa]|omis|忽略|省略|附件)[^<>]*>"
    rf"|({_THINGS}) ?(omitted|已忽略|已省略)|.*\((file attached|文件附件)\)"
    r"|(this message was deleted|you deleted this message|此消息已删除|您删除了此消息)\.?"
    r"|(missed (voice|video) call|未接(语音|视频)通话).*|(\[(语音|视频)通话\]|通话时长).*",
    re.I,
)
_SYSTEM = re.compile(
    r".*(撤回了一条消息|加入了?群聊|退出了?群聊|移出了?群聊|现在可以开始聊天了|以上是打招呼的内容"
    r"|拍了拍|recalled a message).*"
)
_SYSTEM_NAMES = ("系统消息", "系统", "system")
_EDITED = re.compile(r"\s*<(this message was edited|此消息已编辑)>$", re.I)


class _Message(NamedTuple):
    """One message; a system line has no speaker."""

    line: int
    day: str
    minute: int
    speaker: str | None
    text: str


def is_whatsapp(lines: Sequence[str]) -> bool:
    """Whether most messages of a text begin as WhatsApp writes them."""
    found = [line for line in map(_plain, lines) if _first(_WHATSAPP, line)]
    return len(found) >= FEWEST_MESSAGES and 5 * len(found) >= len(lines)


def is_wechat(lines: Sequence[str]) -> bool:
    """Whether messages of a text begin as WeChat or QQ write them."""
    plain = [_plain(line) for line in lines]
    found = [line for line in plain if _first(_WECHAT, line, whole=True)]
    if any(map(_WECHAT_DATE.fullmatch, plain)):
        found += [line for line in plain if _WECHAT_TIME.fullmatch(line)]
    return len(found) >= FEWEST_MESSAGES and 10 * len(found) >= len(lines)


def chat(
    texts: Iterator[str], place: str, kind: Kind, leave_out: Callable[[], None]
) -> Iterator[tuple[str, object]]:
    """The conversations of a chat, each as an object with its ``turns``.

    Args:
        texts: the file's characters.
        place: what the user calls the file.
        kind: which program wrote it.
        leave_out: is called for each line or message that is no text of a speaker.
    """
    lines = ((number, _plain(line)) for number, line in numbered_lines(texts, place))
    messages = _whatsapp(lines) if kind == "whatsapp" else _wechat(lines)
    turns: list[dict[str, str]] = []
    begun, before = 0, ("", 0)
    for message in messages:
        text = _text(message)
        if message.speaker is None or not text:
            leave_out()
            continue
        day, minute = message.day, message.minute
        if turns and (day != before[0] or minute - before[1] > SILENCE):
            yield f"{place}:{begun}", {"turns": turns}
            turns = []
        begun = begun if turns else message.line
        before = day, minute
        if turns and turns[-1]["role"] == message.speaker:
            turns[-1]["content"] += f"\n{text}"
        else:
            turns.append({"role": message.speaker, "content": text})
    if turns:
        yield f"{place}:{begun}", {"turns": turns}


def _whatsapp(lines: Iterable[tuple[int, str]]) -> Iterator[_Message]:
    message: _Message | None = None
    for number, line in lines:
        begun = _first(_WHATSAPP, line)
        if begun is None:
            message = _continued(message, number, line)
            continue
        if message is not None:
            yield message
        spoken = _SPOKEN.fullmatch(begun["said"])
        speaker, text = (spoken["name"], spoken["text"]) if spoken else (None, begun["said"])
        message = _Message(number, begun["day"], _minute(begun), speaker, text)
    if message is not None:
        yield message


def _wechat(lines: Iterable[tuple[int, str]]) -> Iterator[_Message]:
    message: _Message | None = None
    day = ""
    for number, line in lines:
        if dated := _WECHAT_DATE.fullmatch(line):
            day = dated["day"]
            continue
        begun = _first(_WECHAT, line, whole=True)
        if begun is None and day:
            begun = _WECHAT_TIME.fullmatch(line)
        if begun is None:
            message = _continued(message, number, line)
            continue
        if message is not None:
            yield message
        told = begun.groupdict()
        name = begun["name"].rstrip(":： \t")
        speaker = None if name.lower() in _SYSTEM_NAMES else name
        text = told.get("text") or ""
        message = _Message(number, told.get("day") or day, _minute(begun), speaker, text)
    if message is not None:
        yield message


def _continued(message: _Message | None, number: int, line: str) -> _Message | None:
    """A message with one line more; what stands before the first message is nobody's."""
    if message is not None:
        return message._replace(text=f"{message.text}\n{line}")
    return _Message(number, "", 0, None, line) if line.strip() else None


def _text(message: _Message) -> str:
    """What was said, without what a program put there; empty where nothing was."""
    lines = [line for line in message.text.split("\n") if not _SYSTEM.fullmatch(line)]
    text = _EDITED.sub("", "\n".join(lines).strip())
    return "" if _NO_TEXT.fullmatch(text) else text


def _minute(begun: re.Match[str]) -> int:
    """The minute of the day, on a clock of 12 hours or 24."""
    hour, half = int(begun["hour"]), begun["half"]
    afternoon = half in ("下午", "晚上") or (half == "中午" and hour < 11)
    if begun["pm"]:
        hour, afternoon = hour % 12, begun["pm"] in "Pp"
    return (hour + 12 * (afternoon and hour < 12)) * 60 + int(begun["minute"])


def _first(
    patterns: Sequence[re.Pattern[str]], line: str, *, whole: bool = False
) -> re.Match[str] | None:
    found = (pattern.fullmatch(line) if whole else pattern.match(line) for pattern in patterns)
    return next((match for match in found if match), None)


def _plain(line: str) -> str:
    """A line without invisible marks of direction, its rare blanks as spaces."""
    return _SPACES.sub(" ", _INVISIBLE.sub("", line))

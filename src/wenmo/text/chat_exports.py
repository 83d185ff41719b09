"""Chats exported from WhatsApp and WeChat, as conversations.

    12/31/20, 9:15 PM - Ann: Hello         WhatsApp on Android, day and month in any order
    [31.12.20, 21:15:30] Ann: Hello        WhatsApp on iPhone
    [2020/12/31 下午9:15:30] 小安: 你好
    小安 2020/12/31 21:15:30               WeChat and QQ: the message follows on its own lines
    2020-12-31 21:15:30 小安

Lines without a time belong to the message before them. Consecutive messages of a speaker form one
turn. A conversation ends with the day, and after an hour of silence, so that the order of day and
month does not matter. System messages (someone joined, a message was deleted) and messages without
text (a picture, a call) are left out and counted.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Literal, NamedTuple, TypeAlias

from wenmo.text.formats import numbered_lines

ChatProgram: TypeAlias = Literal["whatsapp", "wechat"]

MAX_SILENCE = 60
"""Minutes of silence that end a conversation."""

MIN_MESSAGES = 3
"""Minimum number of message lines of a chat."""

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
_SPEAKER = re.compile(r"(?P<name>[^:：\"“]{1,40}): ?(?P<text>.*)")
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

_ATTACHMENTS = (
    r"image|photo|picture|video|audio|voice|sticker|gif|document|file|link|location|contact card"
    r"|图片|照片|视频|语音|音频|动画表情|表情|文件|文档|链接|位置|红包|微信红包|转账|名片|小程序"
    r"|聊天记录|贴图|媒体"
)
_NON_TEXT = re.compile(
    rf"(\[({_ATTACHMENTS})[^\]]*\]\s*)+"
    rf"|<[^<>]*(omitted|attached|ausgeschlossen|omitid[oa]|omis|忽略|省略|附件)[^<>]*>"
    rf"|({_ATTACHMENTS}) ?(omitted|已忽略|已省略)|.*\((file attached|文件附件)\)"
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
    """A message; system messages have no speaker."""

    line: int
    day: str
    minute: int
    speaker: str | None
    text: str


def is_whatsapp(lines: Sequence[str]) -> bool:
    """Whether most messages of a text start as in WhatsApp's exports."""
    found = [line for line in map(_plain, lines) if _first(_WHATSAPP, line)]
    return len(found) >= MIN_MESSAGES and 5 * len(found) >= len(lines)


def is_wechat(lines: Sequence[str]) -> bool:
    """Whether messages of a text start as in WeChat's or QQ's exports."""
    plain = [_plain(line) for line in lines]
    found = [line for line in plain if _first(_WECHAT, line, full=True)]
    if any(map(_WECHAT_DATE.fullmatch, plain)):
        found += [line for line in plain if _WECHAT_TIME.fullmatch(line)]
    return len(found) >= MIN_MESSAGES and 10 * len(found) >= len(lines)


def chat(
    texts: Iterator[str], location: str, program: ChatProgram, on_skip: Callable[[], None]
) -> Iterator[tuple[str, object]]:
    """The conversations of a chat, each as an object with ``turns``.

    Args:
        texts: the characters of the file.
        location: name of the file in messages.
        program: the program that exported it.
        on_skip: called for each system message, or message without text.
    """
    lines = ((number, _plain(line)) for number, line in numbered_lines(texts, location))
    messages = _whatsapp(lines) if program == "whatsapp" else _wechat(lines)
    turns: list[dict[str, str]] = []
    start_line, previous = 0, ("", 0)
    for message in messages:
        text = _text(message)
        if message.speaker is None or not text:
            on_skip()
            continue
        day, minute = message.day, message.minute
        if turns and (day != previous[0] or minute - previous[1] > MAX_SILENCE):
            yield f"{location}:{start_line}", {"turns": turns}
            turns = []
        start_line = start_line if turns else message.line
        previous = day, minute
        if turns and turns[-1]["role"] == message.speaker:
            turns[-1]["content"] += f"\n{text}"
        else:
            turns.append({"role": message.speaker, "content": text})
    if turns:
        yield f"{location}:{start_line}", {"turns": turns}


def _whatsapp(lines: Iterable[tuple[int, str]]) -> Iterator[_Message]:
    message: _Message | None = None
    for number, line in lines:
        start = _first(_WHATSAPP, line)
        if start is None:
            message = _continued(message, number, line)
            continue
        if message is not None:
            yield message
        speaker_match = _SPEAKER.fullmatch(start["said"])
        speaker, text = (
            (speaker_match["name"], speaker_match["text"])
            if speaker_match
            else (None, start["said"])
        )
        message = _Message(number, start["day"], _minute(start), speaker, text)
    if message is not None:
        yield message


def _wechat(lines: Iterable[tuple[int, str]]) -> Iterator[_Message]:
    message: _Message | None = None
    day = ""
    for number, line in lines:
        if dated := _WECHAT_DATE.fullmatch(line):
            day = dated["day"]
            continue
        start = _first(_WECHAT, line, full=True)
        if start is None and day:
            start = _WECHAT_TIME.fullmatch(line)
        if start is None:
            message = _continued(message, number, line)
            continue
        if message is not None:
            yield message
        groups = start.groupdict()
        name = start["name"].rstrip(":： \t")
        speaker = None if name.lower() in _SYSTEM_NAMES else name
        text = groups.get("text") or ""
        message = _Message(number, groups.get("day") or day, _minute(start), speaker, text)
    if message is not None:
        yield message


def _continued(message: _Message | None, number: int, line: str) -> _Message | None:
    """The message with another line; lines before the first message have no speaker."""
    if message is not None:
        return message._replace(text=f"{message.text}\n{line}")
    return _Message(number, "", 0, None, line) if line.strip() else None


def _text(message: _Message) -> str:
    """The text of a message without system remarks; empty if there is none."""
    lines = [line for line in message.text.split("\n") if not _SYSTEM.fullmatch(line)]
    text = _EDITED.sub("", "\n".join(lines).strip())
    return "" if _NON_TEXT.fullmatch(text) else text


def _minute(start: re.Match[str]) -> int:
    """The minute of the day, from a 12-hour or 24-hour clock."""
    hour, half = int(start["hour"]), start["half"]
    afternoon = half in ("下午", "晚上") or (half == "中午" and hour < 11)
    if start["pm"]:
        hour, afternoon = hour % 12, start["pm"] in "Pp"
    return (hour + 12 * (afternoon and hour < 12)) * 60 + int(start["minute"])


def _first(
    patterns: Sequence[re.Pattern[str]], line: str, *, full: bool = False
) -> re.Match[str] | None:
    found = (pattern.fullmatch(line) if full else pattern.match(line) for pattern in patterns)
    return next((match for match in found if match), None)


def _plain(line: str) -> str:
    """The line without invisible direction marks, and with plain spaces."""
    return _SPACES.sub(" ", _INVISIBLE.sub("", line))

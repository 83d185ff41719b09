"""The names that fields of known kinds of data have, and which two of them make a pair."""

from __future__ import annotations

import re
from collections.abc import Sequence

TEXT_NAMES = ("text", "content", "sentence", "body", "文本", "内容", "正文")

SOURCE_NAMES = (
    *("source", "src", "instruction", "question", "query", "prompt", "input", "document"),
    *("article", "abstract", "mr", "upper", "word", "term"),
    *("源", "指令", "问题", "提问", "原文", "上联", "词语", "单词", "词"),
)
TARGET_NAMES = (
    *("target", "targets", "tgt", "output", "response", "answer", "answers", "answers.text"),
    *("reply", "completion", "reference", "ref", "summary", "title", "translation", "lower"),
    *("definition", "meaning", "gloss"),
    *(
        "目标",
        "译文",
        "输出",
        "摘要",
        "标题",
        "回答",
        "答案",
        "回复",
        "下联",
        "释义",
        "解释",
        "定义",
    ),
)
COMPANIONS = {
    **dict.fromkeys(("instruction", "prompt"), ("input", "context")),
    **dict.fromkeys(("question", "query"), ("context", "passage", "story", "document", "article")),
    "指令": ("输入", "上下文"),
    **dict.fromkeys(("问题", "提问"), ("上下文", "背景", "材料", "段落", "原文")),
}
"""What belongs to a source beside it: Alpaca's ``input``, the ``context`` of a question."""

TURN_NAMES = ("turns", "messages", "conversation", "conversations", "dialogue", "dialog", "对话")

SPEAKERS = ("role", "speaker", "from")
"""The keys under which an object that is a turn may say who speaks."""

TOOL_CALLS = ("tool_calls", "function_call")
TOOL_ROLES = ("tool", "function")
"""The keys of messages that call tools, and the roles of messages that hold what tools answer."""

SPOKEN = ("content", "text", "value", "utterance")
"""The keys under which it may say what is spoken."""

SPEAKER_COLUMNS = (
    *SPEAKERS,
    *(
        "sender",
        "author",
        "user",
        "nickname",
        "发送者",
        "发送人",
        "发言人",
        "说话人",
        "昵称",
        "角色",
    ),
)
"""The columns of a table with one message a row that may say who speaks."""

MESSAGE_COLUMNS = (
    *("message", "msg", "utterance", "content", "text", "body", "strcontent"),
    *("消息", "消息内容", "内容", "文本", "发言"),
)
"""The columns of such a table that may say what is spoken."""

GROUP_COLUMNS = (
    *("conversation_id", "conversation", "conv_id", "dialogue_id", "dialog_id", "dialogue"),
    *("ticket_id", "ticket", "thread_id", "thread", "session_id", "session", "chat_id", "case_id"),
    *("conversationid", "ticketid", "threadid", "sessionid", "strtalker"),
    *("会话", "会话id", "会话编号", "对话id", "对话编号", "工单", "工单号", "工单编号"),
)
"""The columns of such a table that may say which conversation a message belongs to."""

IDENTIFIERS = ("id", "uid", "uuid", "guid", "key", "hash", "url", "编号", "序号")

_LANGUAGES = {
    "en": "eng english 英文 英语",
    "zh": "cn zho chi cmn chinese mandarin 中文 汉语 汉文 普通话 白话 白话文 现代文",
    "lzh": "classical 古文 文言 文言文",
    "yue": "cantonese 粤语 广东话",
    "de": "deu ger german deutsch 德文 德语",
    "fr": "fra fre french français francais 法文 法语",
    "es": "spa spanish español espanol 西班牙文 西班牙语",
    "it": "ita italian italiano 意大利文 意大利语",
    "pt": "por portuguese português portugues 葡萄牙文 葡萄牙语",
    "ru": "rus russian русский 俄文 俄语",
    "ja": "jp jpn japanese 日本語 日文 日语",
    "ko": "kr kor korean 한국어 韩文 韩语",
    "ar": "ara arabic العربية 阿拉伯文 阿拉伯语",
    "cs": "ces cze czech čeština",
    "pl": "pol polish polski",
    "tr": "tur turkish türkçe",
    "nl": "nld dut dutch nederlands 荷兰语",
    "sv": "swe swedish svenska",
    "da": "dan danish dansk",
    "fi": "fin finnish suomi",
    "hu": "hun hungarian magyar",
    "ro": "ron rum romanian română",
    "el": "ell gre greek ελληνικά 希腊语",
    "he": "heb hebrew עברית 希伯来语",
    "hi": "hin hindi हिन्दी 印地语",
    "th": "tha thai ไทย 泰文 泰语",
    "vi": "vie vietnamese 越南文 越南语",
    "uk": "ukr ukrainian українська",
    "fa": "fas per persian farsi فارسی",
    "la": "lat latin latina 拉丁语",
}
LANGUAGES = {name: code for code, names in _LANGUAGES.items() for name in [code, *names.split()]}
"""Names of languages and their codes, and the code of each. ``id`` and ``no`` are none here: they
name identifiers and numbers far more often."""

_BESIDE_LANGUAGE = re.compile(
    r"(cn|tw|hk|us|gb|uk|br|pt|de|fr|es|mx|ca|jp|kr|hans|hant|text|sentence|sent)", re.I
)


def language_of(name: str) -> str | None:
    """The code of the language that a field is named by, as ``en`` for ``English`` or ``en-US``."""
    leaf = name.rpartition(".")[2].strip().lower()
    if leaf in LANGUAGES:
        return LANGUAGES[leaf]
    first, *rest = re.split(r"[-_ ]+", leaf)
    if len(rest) != 1:
        return None
    if first in LANGUAGES and _BESIDE_LANGUAGE.fullmatch(rest[0]):
        return LANGUAGES[first]
    return LANGUAGES.get(rest[0]) if first in ("text", "sentence", "sent") else None


def known_field(names: Sequence[str], known: Sequence[str]) -> str | None:
    """The field with the first of the known names, in any case of letters; a field of a nested
    object may have its own name alone.
    """
    by_name = {name.rpartition(".")[2].strip().lower(): name for name in reversed(names)}
    by_name |= {name.strip().lower(): name for name in reversed(names)}
    return next((by_name[name] for name in known if name in by_name), None)


def find_pair(
    names: Sequence[str], source: str | None = None, text: str | None = None
) -> tuple[str, str] | None:
    """The fields of source and target by their names, or by what the other one leaves.

    Args:
        names: the fields there are.
        source: the source's, where it is known.
        text: the target's, where it is known.

    Returns:
        The source, several fields with commas between them, and the target; ``None`` where it is
        not clear which they are.
    """
    chosen = source
    source = source or known_field([name for name in names if name != text], SOURCE_NAMES)
    text = text or known_field([name for name in names if name != source], TARGET_NAMES)
    rest = [name for name in names if name not in (source, text)]
    languages = [name for name in rest if language_of(name)]
    if source is None and text is None:
        return (languages[0], languages[1]) if len(languages) == 2 else None
    if source is None or text is None:
        usual = [name for name in rest if name in TEXT_NAMES]
        other = next((found[0] for found in (rest, usual, languages) if len(found) == 1), None)
        source, text = source or other, text or other
    if source is None or text is None:
        return None
    return source if chosen else _with_companions(source, text, names), text


SUMMARIZED = ("document", "article", "abstract", "原文")
SUMMARIES = ("summary", "title", "摘要", "标题")


def task_of_pair(source: str, target: str) -> str:
    """The task that suits a pair by the names of its fields, as advice for the command line.

    Args:
        source: as `find_pair` gives it.
        target: as `find_pair` gives it.
    """
    sides = [name.rpartition(".")[2].strip().lower() for name in (source.split(",")[0], target)]
    if sides[0] == "mr":
        return "--task data-to-text"
    if sides[0] in SUMMARIZED and sides[1] in SUMMARIES:
        return "--task summarization"
    if all(map(language_of, sides)):
        return "--task translation"
    return "--task paraphrase (source → target, as any task of pairs)"


def _with_companions(source: str, text: str, names: Sequence[str]) -> str:
    """A source with the fields that belong to it; names with commas cannot be listed."""
    left = [name for name in names if name not in (source, text) and "," not in name]
    wanted = COMPANIONS.get(source.rpartition(".")[2].strip().lower(), ())
    beside = [found for name in wanted if (found := known_field(left, [name])) is not None]
    return source if "," in source else ",".join([source, *dict.fromkeys(beside)])

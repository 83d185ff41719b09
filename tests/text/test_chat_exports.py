"""Chats exported from WhatsApp and WeChat, and translation memories."""

from __future__ import annotations

from pathlib import Path

import pytest

from wenmo.text.choosing import choose_fields
from wenmo.text.config import ReadConfig, TaskConfig
from wenmo.text.readers import Reader, for_other_data
from wenmo.text.tasks import open_records
from wenmo.types import WenmoError

DIALOGUE = TaskConfig("dialogue")


def talks(path: Path) -> tuple[list[list[tuple[str | None, str]]], Reader, ReadConfig]:
    """The conversations of a chat, each as its speakers and what they say."""
    read, _ = choose_fields(path, ReadConfig(), DIALOGUE, None)
    reader = open_records(path, read, DIALOGUE)
    return [[(part.role, part.text) for part in record.segments] for record in reader], reader, read


ANDROID = """{0}, 21:14 - Messages and calls are end-to-end encrypted.
{0}, 21:15 - Ann: Is the mill
open: today?
{0}, 21:16 - Bo Li: Yes.
{0}, 21:16 - Bo Li: Come: at ten.
{0}, 21:17 - Ann: <Media omitted>
{0}, 21:18 - Ann: This message was deleted
{0}, 21:19 - Ann added Cy
{0}, 23:59 - Ann: Good night.
{1}, 00:01 - Bo Li: Morning.
"""
SAID = [
    [("Ann", "Is the mill\nopen: today?"), ("Bo Li", "Yes.\nCome: at ten.")],
    [("Ann", "Good night.")],
    [("Bo Li", "Morning.")],
]


@pytest.mark.parametrize(
    "days",
    [
        ("31/12/2020", "01/01/2021"),
        ("12/31/20", "1/1/21"),
        ("31.12.20", "01.01.21"),
        ("2020-12-31", "2021-01-01"),
        ("2020/12/31", "2021/1/1"),
    ],
)
def test_whatsapp_on_android(tmp_path: Path, days: tuple[str, str]) -> None:
    path = tmp_path / "chat.txt"
    path.write_text(ANDROID.format(*days), encoding="utf-8")
    found, reader, read = talks(path)
    assert read.format == "whatsapp"
    assert found == SAID
    assert reader.counts.system_lines == 4
    assert reader.counts.records == 3


@pytest.mark.parametrize(
    ("morning", "noon", "evening"),
    [
        ("[31.12.20, 09:15:30]", "[31.12.20, 12:01:02]", "[31.12.20, 21:15:30]"),
        ("[12/31/20, 9:15:30 AM]", "[12/31/20, 12:01:02 PM]", "[12/31/20, 9:15:30\u202fPM]"),
        ("[2020/12/31 上午9:15:30]", "[2020/12/31 中午12:01:02]", "[2020/12/31 下午9:15:30]"),
    ],
)
def test_whatsapp_on_iphone(tmp_path: Path, morning: str, noon: str, evening: str) -> None:
    path = tmp_path / "_chat.txt"
    path.write_text(
        f"{morning} 小安: 你好\n\u200e{morning} Bo: \u200eimage omitted\n{noon} Bo: 在吗？\n"
        f"{evening} 小安: 在。\n",
        encoding="utf-8",
    )
    found, reader, _ = talks(path)
    assert found == [[("小安", "你好")], [("Bo", "在吗？")], [("小安", "在。")]]
    assert reader.counts.system_lines == 1


WECHAT = [
    "小安 2020/12/31 21:15:30\n磨坊开吗？\n在等\n\n王 五  2020/12/31 21:16\n开。\n\n"
    "王 五 2020/12/31 21:16:40\n[图片]\n小安 2020/12/31 21:17\n谢谢[微笑]\n"
    '系统消息 2020/12/31 21:18\n"王 五"撤回了一条消息\n',
    "消息记录\n\n2020-12-31 21:15:30 小安\n磨坊开吗？\n在等\n\n2020-12-31 21:16:00 王 五\n开。\n"
    "2020-12-31 21:17:00 小安\n谢谢[微笑]\n",
    "—————  2020-12-31  —————\n\n小安  21:15\n\n磨坊开吗？\n在等\n\n王 五  21:16\n\n开。\n\n"
    "小安  21:17\n\n谢谢[微笑]\n",
    "[2020-12-31 21:15:30] 小安: 磨坊开吗？\n在等\n[2020-12-31 21:16:30] 王 五: 开。\n"
    "[2020-12-31 21:17:30] 小安: 谢谢[微笑]\n",
    "小安 昨天 21:15\n磨坊开吗？\n在等\n王 五 昨天 21:16\n开。\n小安 昨天 21:17\n谢谢[微笑]\n",
]


@pytest.mark.parametrize("content", WECHAT)
def test_wechat(tmp_path: Path, content: str) -> None:
    path = tmp_path / "聊天.txt"
    path.write_text(content, encoding="utf-8")
    found, reader, _ = talks(path)
    assert found == [[("小安", "磨坊开吗？\n在等"), ("王 五", "开。"), ("小安", "谢谢[微笑]")]]
    assert reader.counts.system_lines == {0: 2, 1: 1}.get(WECHAT.index(content), 0)


@pytest.mark.parametrize(
    "content",
    [
        "The mill stands still.\nIt is 21:15 - late.\n" * 5,
        "春眠不觉晓\n处处闻啼鸟\n" * 5,
        "12/31/20 was a day: the mill burnt.\n" * 5,
    ],
)
def test_other_texts_are_not_detected_as_chats(tmp_path: Path, content: str) -> None:
    path = tmp_path / "a.txt"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(WenmoError, match="no conversations"):
        talks(path)


def test_pair_tasks_refuse_a_chat(tmp_path: Path) -> None:
    path = tmp_path / "chat.txt"
    path.write_text(ANDROID.format("31/12/2020", "01/01/2021"), encoding="utf-8")
    with pytest.raises(WenmoError, match="only a chat: pass --task dialogue"):
        choose_fields(path, ReadConfig(), TaskConfig("translation"), None)


def test_run_on_a_chat_evaluates_conversations_in_other_formats(tmp_path: Path) -> None:
    chat, rows = tmp_path / "chat.txt", tmp_path / "a.jsonl"
    chat.write_text(ANDROID.format("31/12/2020", "01/01/2021"), encoding="utf-8")
    rows.write_text('{"turns": ["Hi.", "Hello."]}\n', encoding="utf-8")
    *_, read = talks(chat)
    other, _ = choose_fields(rows, for_other_data(read, plain=False), DIALOGUE, None)
    assert [record.text for record in open_records(rows, other, DIALOGUE)] == ["Hi.\nHello."]


# -- translation memories --------------------------------------------------------------------------

TMX = """<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE tmx SYSTEM "tmx14.dtd">
<tmx version="1.4"><header srclang="en" adminlang="en"/><body>
<tu tuid="1">
  <prop type="x">noise</prop>
  <tuv xml:lang="en"><seg>The <bpt>&lt;b&gt;</bpt><hi>mill</hi><ept/> &amp; I</seg></tuv>
  <tuv xml:lang="zh-CN"><seg>磨坊和我</seg></tuv>
</tu>
<tu><tuv xml:lang="en"><seg>Only here.</seg></tuv></tu>
<tu><tuv xml:lang="en"><seg>Go.</seg></tuv><tuv xml:lang="zh-CN"><seg> 走。 </seg></tuv></tu>
</body></tmx>
"""


def test_translation_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.tmx"
    for encoding, size in [("utf-8", 1 << 20), ("utf-16", 1 << 20), ("utf-8", 7)]:
        monkeypatch.setattr("wenmo.text.encodings.PIECE", size)
        path.write_bytes(TMX.replace("UTF-8", encoding).encode(encoding))
        read, note = choose_fields(path, ReadConfig(), TaskConfig("translation"), None)
        assert note == "source: en; target: zh-CN"
        reader = Reader(path, read)
        made = [(record.source, record.text) for record in reader]
        assert made == [("The mill & I", "磨坊和我"), ("Go.", "走。")]
        assert reader.counts.missing == 1


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            '<!DOCTYPE t [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]><tmx><body>&b;</body></tmx>',
            "declares the entity 'a'",
        ),
        (
            '<!DOCTYPE t [<!ENTITY x SYSTEM "file:///etc/passwd">]><tmx>&x;</tmx>',
            "declares the entity 'x'",
        ),
        ('<!DOCTYPE t [<!ENTITY % p "x">%p;]><tmx></tmx>', "declares the entity 'p'"),
        ("<tmx><body><tu></body></tmx>", "a.tmx:1: not valid XML: mismatched tag"),
        ("<html></html>", "XML, but not TMX: its first element is 'html'"),
        ("<tmx>&outside;</tmx>", "a.tmx:1: not valid XML: undefined entity"),
    ],
)
def test_invalid_translation_memories(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "a.tmx"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(WenmoError) as caught:
        list(Reader(path, ReadConfig(source_field="en", text_field="zh")))
    assert message in str(caught.value)

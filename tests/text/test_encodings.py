"""Encodings: detection, incremental decoding, and positions of invalid bytes."""

from __future__ import annotations

import codecs
import io
import itertools
import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wenmo.text import detection, encodings
from wenmo.text.detection import detect
from wenmo.text.encodings import check_encoding, decoded
from wenmo.types import WenmoError

POEM = "春眠不觉晓，\n处处闻啼鸟。\n夜来风雨声，\n花落知多少。\n"
PROSE = "我们在学校里学习，他说这是一个很好的机会。大家都来了，没有人不知道这件事。\n"

quick = settings(max_examples=25, deadline=None)


def read(content: bytes, encoding: str | None = None) -> str:
    encoding = encoding or detect(io.BytesIO(content), "a.txt").name
    return "".join(decoded(io.BytesIO(content), encoding, "a.txt"))


def refusal(content: bytes, encoding: str | None = None) -> str:
    with pytest.raises(WenmoError) as caught:
        read(content, encoding)
    message = str(caught.value)
    assert "\n" not in message
    return message


plausible = st.lists(st.sampled_from(PROSE + POEM + "Chapter 1: "), max_size=60).map("".join)


@quick
@given(
    plausible,
    st.sampled_from(
        ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "gb18030", "gbk"]
    ),
    st.integers(1, 9),
)
def test_detection_and_decoding_in_pieces(text: str, encoding: str, piece: int) -> None:
    text = PROSE + "\n" + text
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(encodings, "PIECE", piece)
        assert read(text.encode(encoding)) == text


@quick
@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r\ufeff")))
def test_given_encoding(text: str) -> None:
    for encoding in ("utf-8", "utf-16", "gb18030"):
        assert read(text.encode(encoding), encoding) == text


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        ("Le café déjà vu, où l’élève a mangé des crêpes “brûlées”.\n", "cp1252"),
        ("résumé", "cp1252"),
        ("café", "cp1252"),
        ("Fünf große Bären übten „schön“ Über Öl.\n", "cp1252"),
        ("MAÑANA ESTARÁ AQUÍ JOSÉ GARCÍA NÚÑEZ.\n", "cp1252"),
        ("我們在學校裡學習，他說這是一個很好的機會。\n", "big5"),
        ("鵝鵝鵝，曲項向天歌。白毛浮綠水，紅掌撥清波。\n", "gb18030"),
        ("Привет, как дела? Я учусь в школе и читаю книги.\n", "cp1251"),
        ("私は学生です。今日は天気がいいですね。\n", "shift_jis"),
        ("안녕하세요 저는 학생입니다. 오늘 날씨가 좋습니다.\n", "euc_kr"),
    ],
)
def test_legacy_encodings_are_distinguished(text: str, encoding: str) -> None:
    assert read(text.encode(encoding)) == text
    assert read(30 * text.encode(encoding)) == 30 * text


def test_chinese_after_much_ascii(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(detection, "SAMPLE", 64)
    for length in range(60, 70):  # the first character lies across the end of the sample
        text = "a" * length + PROSE * 5
        for encoding in ("utf-8", "gb18030"):
            assert read(text.encode(encoding)) == text


def test_newlines_across_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    for piece in (1, 2, 3, 100):
        monkeypatch.setattr(encodings, "PIECE", piece)
        assert read(b"a\r\nb\rc\n\rd\r") == "a\nb\nc\n\nd\n"
        assert read(codecs.BOM_UTF8 + b"a\xef\xbb\xbfb") == "a\ufeffb"  # one mark, at the beginning


def test_error_names_the_position_of_an_invalid_byte(monkeypatch: pytest.MonkeyPatch) -> None:
    content = "春眠\r\n不觉晓\r".encode() + b"ab\xffc" + POEM.encode()
    offset = content.index(b"\xff")
    for piece in (*range(1, 9), 100):
        monkeypatch.setattr(encodings, "PIECE", piece)
        expected = (
            f"a.txt:3: byte {offset} (0xff) is not valid utf-8; fix the file, or pass --encod"
        )
        assert refusal(content).startswith(expected)
    monkeypatch.setattr(encodings, "PIECE", 5)
    content = (PROSE * 3).encode("gbk") + b"\xff\xff" + PROSE.encode("gbk")
    assert refusal(content).startswith(f"a.txt:4: byte {content.index(0xFF)} ")
    assert refusal("春眠不".encode()[:-1]).startswith("a.txt:1: byte 6 ")
    assert "is not valid ascii" in refusal(POEM.encode(), "ascii")
    assert refusal(POEM.encode("utf-16-be"), "utf-16").endswith("; leave out encoding=NAME")


@pytest.mark.parametrize("name", ["utf-9", "base64", "a\0b", "字"])
def test_unknown_encoding(name: str) -> None:
    with pytest.raises(WenmoError, match="no such text encoding"):
        check_encoding(name)
    check_encoding(None)
    check_encoding("GBK")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\x89PNG\r\n\x1a\n", "a PNG image"),
        (b"PK\x03\x04abc", "a ZIP archive"),
        (b"%PDF-1.7\n", "a PDF"),
        (b"\x7fELF\x02", "a program"),
        ((64).to_bytes(8, "little") + b'{"a": ', "a safetensors file"),
        (bytes(range(256)) * 4, "a binary file, not text"),
        (bytes(1000), "a binary file, not text"),
    ],
)
def test_not_text(content: bytes, message: str) -> None:
    assert message in refusal(content)


LEGACY = {
    "iso8859_2": "Kiedy wróciłem do domu, było już późno. Matka siedziała i czytała książkę.",
    "cp1250": "Když jsem přišel domů, bylo už pozdě. Matka četla knihu. Žluťoučký kůň.",
    "cp1254": "Eve geldiğimde saat çok geçti. Annem kitap okuyordu. Şimdi kış.",
    "cp1253": "Όταν γύρισα στο σπίτι ήταν ήδη αργά. Η μητέρα καθόταν κοντά στο παράθυρο.",
    "cp1255": "כשחזרתי הביתה כבר היה מאוחר. אמא ישבה ליד החלון וקראה ספר.",
    "cp1256": "عندما عدت إلى البيت كان الوقت متأخرا. كانت أمي تجلس قرب النافذة وتقرأ كتابا.",
    "cp874": "เมื่อฉันกลับถึงบ้านก็ดึกแล้ว แม่นั่งอ่านหนังสืออยู่ข้างหน้าต่าง",
    "koi8_r": "Когда я вернулся домой, было уже поздно. Мать сидела у окна и читала книгу.",
    "iso8859_5": "Когда я вернулся домой, было уже поздно. Мать сидела у окна и читала книгу.",
    "cp866": "Когда я вернулся домой, было уже поздно. Мать сидела у окна и читала книгу.",
    "cp1257": "Kai grįžau namo, buvo jau vėlu. Motina sėdėjo ir skaitė knygą. Žiema.",
    "mac_roman": "Quand je suis rentré à la maison, il était déjà tard. Ma mère lisait à côté.",
    "euc_jp": "家に帰った時はもう遅かった。母は窓のそばに座って本を読んでいた。",
    "cp949": "집에 돌아왔을 때는 이미 늦었다. 어머니는 창가에 앉아 책을 읽고 계셨다.",
    "big5hkscs": "當我回到家時已經很晚了。母親坐在窗邊看書，父親在床上睡著了。",
    "utf-16-le": "夜来风雨声花落知多少",
}


@pytest.mark.parametrize("encoding", LEGACY)
def test_legacy_encoding_is_detected_as_a_guess(encoding: str) -> None:
    text = LEGACY[encoding]
    content = text.encode(encoding)
    found = detect(io.BytesIO(content), "a.txt")
    assert found.guessed
    assert content.decode(found.name) == text


@pytest.mark.parametrize("encoding", LEGACY)
def test_short_text_is_decoded_correctly_or_refused(encoding: str) -> None:
    words = LEGACY[encoding].split(" ")
    for start in range(0, len(words) - 1, 3):
        text = " ".join(words[start : start + 3])
        content = text.encode(encoding)
        if not content.isascii():
            try:
                assert content.decode(detect(io.BytesIO(content), "a.txt").name) == text
            except WenmoError as error:
                assert "the encoding is not clear: perhaps " in str(error)  # noqa: PT017
                assert "pass --encoding=NAME" in str(error)  # noqa: PT017


def test_short_chinese_lines(data: Path) -> None:
    with (data / "zh" / "poems_valid.jsonl").open(encoding="utf-8") as file:
        lines = [json.loads(line)["lines"][0] for line in itertools.islice(file, 40)]
    asked = 0
    for line in lines:
        content = line.encode("gb18030")
        try:
            assert detect(io.BytesIO(content), "a.txt") == ("gb18030", True)
        except WenmoError:
            asked += 1
    assert asked <= 2
    assert detect(io.BytesIO("你好\n".encode("gbk")), "a.txt").name == "gb18030"


@quick
@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r\ufeff")))
def test_cesu_8(text: str) -> None:
    content = text.encode("cesu-8")
    with pytest.MonkeyPatch.context() as patch:
        for piece in (1, 5, 100):
            patch.setattr(encodings, "PIECE", piece)
            assert read(content, "cesu-8") == text
    if content != text.encode() and text.isprintable():
        assert detect(io.BytesIO(content), "a.txt") == ("cesu-8", True)


def test_error_names_the_position_of_an_invalid_byte_of_cesu_8() -> None:
    content = "春\n😀😀".encode("cesu-8")
    message = f"a.txt:2: byte {len(content)} (0xff) is not valid cesu-8"
    assert message in refusal(content + b"\xff", "cesu-8")


def test_irc_control_codes_are_text() -> None:
    text = "\x0304<bram>\x0f hello \x02all\x02 here\n" * 20
    assert read(text.encode()) == text

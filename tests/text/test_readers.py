"""Readers: every format, pieces of any size, and every error."""

from __future__ import annotations

import gzip
import io
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from wenmo.text import encodings, formats, json_values, readers
from wenmo.text.config import ReadConfig
from wenmo.text.readers import Reader, Record
from wenmo.types import WenmoError

POEM = "春眠不觉晓，\n处处闻啼鸟。\n夜来风雨声，\n花落知多少。\n"
PROSE = "我们在学校里学习，他说这是一个很好的机会。大家都来了，没有人不知道这件事。\n"


def write(folder: Path, name: str, content: str | bytes) -> Path:
    path = folder / name
    data = content.encode() if isinstance(content, str) else content
    path.write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
    return path


def texts(path: Path | str, **config: object) -> list[str]:
    """The texts, read both ways: whole records, and pieces put together again."""
    reader = Reader(path, ReadConfig(**config))  # type: ignore[arg-type]
    whole = [record.text for record in reader]
    counts = reader.counts
    joined, parts = [], []
    for piece, ends in reader.pieces():
        parts.append(piece)
        if ends:
            joined.append("".join(parts))
            parts = []
    assert (joined, parts, reader.counts) == (whole, [], counts)
    assert counts.records == len(whole)
    return whole


def refusal(path: Path | str, **config: object) -> str:
    with pytest.raises(WenmoError) as caught:
        texts(path, **config)
    message = str(caught.value)
    assert "\n" not in message
    return message


# Formats


@pytest.mark.parametrize("name", ["a.txt", "a.md", "a", "a.unknown", "a.txt.gz", "a.TXT.GZ"])
def test_plain_text_is_one_document(tmp_path: Path, name: str) -> None:
    assert texts(write(tmp_path, name, POEM)) == [POEM]


def test_gzip_is_detected_by_its_magic_number(tmp_path: Path) -> None:
    assert texts(write(tmp_path, "a.txt", gzip.compress(POEM.encode()))) == [POEM]
    (tmp_path / "b.txt.gz").write_bytes(POEM.encode())  # named gzip, but is not
    assert texts(tmp_path / "b.txt.gz") == [POEM]


def test_units(tmp_path: Path) -> None:
    path = write(tmp_path, "a.txt", "\n 一\n  二  \n\n \n三\u2028四\r\n\r\n")
    assert texts(path, unit="line") == ["一", "二", "三\u2028四"]
    assert texts(path, unit="paragraph") == [" 一\n  二  ", "三\u2028四"]
    assert texts(path) == ["\n 一\n  二  \n\n \n三\u2028四\n\n"]


def test_jsonl(tmp_path: Path) -> None:
    rows = [{"text": "一", "n": 1}, "二", {"text": ["三", "四"]}, {"text": "a\r\nb\u0000"}]
    lines = "\n\n".join(json.dumps(row) for row in rows)
    for name in ("a.jsonl", "a.ndjson", "a.jsonl.gz", "a.json"):
        path = write(tmp_path, name, lines)
        assert texts(path) == ["一", "二", "三\n四", "a\nb"]
    reader = Reader(path)
    assert list(reader)[-1] == Record("a\nb")
    assert reader.counts.nuls == 1


@pytest.mark.parametrize("piece", [1, 7, 1 << 20])
def test_json_list_is_streamed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, piece: int) -> None:
    monkeypatch.setattr(encodings, "PIECE", piece)
    rows = [{"text": f"第{i}行", "n": [i, {"a": None}]} for i in range(5)]
    for indent in (None, 2):
        path = write(tmp_path, "a.json", json.dumps([*rows, "好"], indent=indent))
        assert texts(path) == [*(f"第{i}行" for i in range(5)), "好"]
    assert texts(write(tmp_path, "b.json", json.dumps(rows[0], indent=2))) == ["第0行"]


def test_csv_with_semicolons_is_noted(tmp_path: Path) -> None:
    path = tmp_path / "european.csv"
    path.write_text('id;text\n1;"one; two, three"\n2;four, five\n')
    reader = Reader(path, ReadConfig())
    assert [record.text for record in reader] == ["one; two, three", "four, five"]
    (found,) = reader.findings
    assert found.endswith(
        "european.csv: the first row has semicolons and no comma: read as separated by semicolons"
    )
    path.write_text("text\na;b\nc;d\n")
    assert [record.text for record in Reader(path, ReadConfig())] == ["a;b", "c;d"]


def test_csv_and_tsv(tmp_path: Path) -> None:
    path = write(tmp_path, "a.csv", 'id,text\r\n1,"a, ""b""\r\nc"\r\n\r\n2,二\r\n')
    assert texts(path) == ['a, "b"\nc', "二"]
    assert texts(path, text_field="id") == ["1", "2"]
    assert texts(write(tmp_path, "one.csv", "诗\n一\n二\n")) == ["一", "二"]
    path = write(tmp_path, "a.tsv", 'en\tzh\n"Look," she said.\t看。\nHi.\t 你好。\n')
    reader = Reader(path, ReadConfig(text_field="zh", source_field="en"))
    assert list(reader) == [Record("看。", '"Look," she said.'), Record(" 你好。", "Hi.")]
    assert texts(path, source_field="en") == ["看。", " 你好。"]  # one column is left for the text


@pytest.mark.parametrize(("name", "tab"), [("a.csv", ","), ("a.tsv", "\t"), ("a.tsv.gz", "\t")])
def test_table_without_a_header(tmp_path: Path, name: str, tab: str) -> None:
    path = write(tmp_path, name, f"\n等等！{tab}Wait!\n好{tab}好\n")
    assert texts(path, text_field="1") == ["等等！", "好"]
    pairs = [Record("等等！", "Wait!"), Record("好", "好")]
    assert list(Reader(path, ReadConfig(text_field="1", source_field="2"))) == pairs
    assert list(Reader(path, ReadConfig(source_field="2"))) == pairs  # one is left for the text
    assert refusal(path, text_field="3").endswith(f"{name}: no field '3' (found: 1, 2)")
    assert refusal(path, text_field="0").endswith("no field '0' (found: 1, 2)")
    assert "choose all columns by number, or all by name" in refusal(
        path, text_field="1", source_field="en"
    )
    write(tmp_path, name, f"a{tab}b\nc\n")
    assert ":2: a row of 1 columns where the first row has 2" in refusal(path, text_field="1")


def test_numeric_column_names(tmp_path: Path) -> None:
    assert texts(write(tmp_path, "a.jsonl", '{"1": "一", "2": "二"}'), text_field="2") == ["二"]
    pq.write_table(pa.table({"1": ["一"], "2": ["二"]}), tmp_path / "a.parquet")
    assert texts(tmp_path / "a.parquet", text_field="2") == ["二"]


@pytest.mark.parametrize("name", ["a.parquet", "a.parquet.gz"])
def test_parquet(tmp_path: Path, name: str) -> None:
    columns = {
        "id": list(range(200)),
        "lines": [["一", str(i)] for i in range(200)],
        "meta": [{"title": f"t{i}"} for i in range(200)],
    }
    pq.write_table(pa.table(columns), tmp_path / "raw", row_group_size=30)
    path = write(tmp_path, name, (tmp_path / "raw").read_bytes())
    assert texts(path) == [f"一\n{i}" for i in range(200)]
    assert texts(path, text_field="meta.title")[-1] == "t199"
    assert texts(path, text_field="id")[:2] == ["0", "1"]


def test_folder_is_sorted_and_skips_unreadable_files(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / ".git").mkdir()
    for name in ("b.txt", "a.md", "sub/c.jsonl.gz", ".hidden.txt", ".git/x.txt", "z.png", "d.txt"):
        write(tmp_path, name, '"丙"' if "jsonl" in name else "" if name[0] == "d" else name)
    reader = Reader(tmp_path)
    assert [str(path.relative_to(tmp_path)) for path in reader.files] == [
        "a.md",
        "b.txt",
        "d.txt",
        "sub/c.jsonl.gz",
    ]
    assert texts(tmp_path) == ["a.md", "b.txt", "丙"]
    list(reader)
    counts = reader.counts
    assert (counts.files, counts.records, counts.missing, counts.skipped) == (4, 3, 1, 1)
    assert counts.bytes == sum(path.stat().st_size for path in reader.files)
    assert "a.md" not in map(str, Reader(tmp_path, ReadConfig(text_field="text")).files)


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_standard_input(monkeypatch: pytest.MonkeyPatch, pack: type[bytes]) -> None:
    stdin = io.TextIOWrapper(io.BytesIO(pack(PROSE.encode("gbk"))))
    monkeypatch.setattr("sys.stdin", stdin)
    reader = Reader("-")
    assert [[r.text for r in reader] for _ in range(2)] == [[PROSE]] * 2
    (copy,) = reader.files
    del reader
    assert not copy.exists()


def test_real_poems(data: Path) -> None:
    path = data / "zh" / "poems_train.jsonl.gz"
    message = refusal(path)
    assert message.endswith("pass --text-field NAME, one of: title, author, form, lines")
    reader = Reader(path, ReadConfig(text_field="lines", source_field="title"))
    records = list(reader)
    assert len(records) == reader.counts.records == 34_276 - reader.counts.missing
    assert all(len(set(map(len, record.text.split("\n")))) == 1 for record in records)


def test_real_tables(data: Path) -> None:
    pairs = ReadConfig(text_field="ref", source_field="mr")
    assert sum(1 for _ in Reader(data / "d2t" / "e2e_train.csv.gz", pairs)) == 42_061
    columns = ReadConfig(text_field="2", source_field="1")
    tatoeba, couplets = (
        data / "mt" / "tatoeba_en_zh" / "test.tsv",
        data / "zh" / "couplets_test.tsv",
    )
    for path, count in [(tatoeba, 1_149), (couplets, 1_468)]:
        assert sum(1 for _ in Reader(path, columns)) == count
        assert refusal(path).endswith("or --text-field 1")
    assert next(iter(Reader(tatoeba, columns))) == Record("等等！", "Wait!")


def test_real_dialogues_and_summaries(data: Path) -> None:
    path = data / "dialogue" / "zh_task_test.jsonl"
    assert refusal(path).endswith("pass --text-field NAME, one of: domain, turns")
    assert all("\n" in text for text in texts(path, text_field="turns"))
    path = data / "summarization" / "zh_csl_valid.jsonl"
    records = list(Reader(path, ReadConfig(source_field="source")))
    assert len(records) == 100
    assert all(len(record.text) < len(record.source or "") for record in records)


def test_nuls_are_counted(tmp_path: Path) -> None:
    reader = Reader(write(tmp_path, "a.txt", b"spring\0 sleep\0\0"))
    assert list(reader) == [Record("spring sleep")]
    assert reader.counts.nuls == 3


def test_encodings_are_detected_or_given(tmp_path: Path) -> None:
    path = write(tmp_path, "a.txt", PROSE.encode("gbk"))
    assert texts(path) == texts(path, encoding="gb18030") == [PROSE]
    assert "a.txt:1: byte 0 (0xce) is not valid utf-8" in refusal(path, encoding="utf-8")
    assert "encoding=utf-9: no such text encoding" in refusal(path, encoding="utf-9")


def test_pieces_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (encodings, readers):
        monkeypatch.setattr(module, "PIECE", 10)
    for name, content in [("a.txt", POEM * 20), ("a.jsonl", json.dumps({"text": POEM * 20}))]:
        pieces = list(Reader(write(tmp_path, name, content)).pieces())
        assert max(len(piece) for piece, _ in pieces) <= 11
        assert [ends for _, ends in pieces].count(True) == 1
        assert pieces[-1][1]


# What is missing, and what is wrong


def test_missing_values_are_counted(tmp_path: Path) -> None:
    rows = [None, "", " \n", [], "\u0000", ["", " "], "好"]
    lines = [json.dumps({"id": 1, "text": row, "from": "x"}) for row in rows]
    lines += ['{"id": 2}', "{}", '""', '{"text": "无源"}']
    path = write(tmp_path, "a.jsonl", "\n".join(lines))
    reader = Reader(path)
    assert [record.text for record in reader] == ["好", "无源"]
    assert reader.counts.missing == 9
    pairs = write(tmp_path, "b.jsonl", '{"text": "好", "from": "x"}\n{"text": "无源"}')
    assert list(Reader(pairs, ReadConfig(source_field="from"))) == [Record("好", "x")]
    table = write(tmp_path, "a.csv", "id,text\n1,\n2,好\n3,  \n")
    reader = Reader(table)
    assert [record.text for record in reader] == ["好"]
    assert reader.counts.missing == 2


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('"好"\n{"text": }', "a.jsonl:2: not valid JSON: Expecting value; fix or remove the line"),
        ('"好"\n\n3', "a.jsonl:3: a number where an object or a string is expected"),
        ('{"text": 3}', "a.jsonl:1: field 'text' holds a number where text is expected"),
        ('{"text": ["a", 3]}', "a.jsonl:1: field 'text' holds a list of not only strings"),
        ('{"text": {"zh": "好"}}', "pass --text-field NAME, one of: text.zh"),
        ('{"title": "a", "lines": []}\n{"title": "a"}', None),
        ('{"a": "x", "b": "y"}', "a.jsonl: which field holds the text? pass --text-field NAME"),
        ('"\\ud800"', "a.jsonl:1: unpaired surrogate"),
        ('{"text": ""}\n""', "holds no text: in all 2 records"),
        ("[" * 100_000, "a.jsonl:1: not valid JSON"),
    ],
)
def test_bad_jsonl(tmp_path: Path, content: str, message: str | None) -> None:
    path = write(tmp_path, "a.jsonl", content)
    if message is None:
        assert texts(path) == ["a", "a"]
    else:
        assert message in refusal(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('["a"\n, {"text": "b"} "c"]', "a.json:2: not valid JSON: a comma or the end of the list"),
        ('["a",]', "a value is expected after the comma"),
        ('["a", "b"', "a comma or the end of the list"),
        ('["a", {"text": ', "a.json:1: not valid JSON"),
        ('["a"]\nx', "a.json:2: not valid JSON: something follows"),
        ("[1]", "a.json:1: a number where an object or a string"),
        ("[", "the list has no end"),
        ("]", "not valid JSON"),
        ("[]", "holds no text"),
    ],
)
def test_bad_json(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str, message: str
) -> None:
    path = write(tmp_path, "a.json", content)
    for piece in (1, 100):
        monkeypatch.setattr(encodings, "PIECE", piece)
        assert message in refusal(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('id,text\n1,"a\nb"\n2\n', "a.csv:4: a row of 1 columns where the header has 2"),
        ("id,text\n1,a,b\n", "a.csv:2: a row of 3 columns"),
        ('text\na\n"b', "a.csv:3: not a valid CSV row"),
        ('text\n"a"b\n', "a.csv:2: not a valid CSV row"),
        (
            "text,text\na,b\n",
            "two columns are named 'text'; rename one; without a header line, choose",
        ),
        ('"春眠\n诗",' + "长" * 99 + "\na,b\n", f"one of: 春眠 诗, {'长' * 40}…; without"),
        (
            ",".join(f"c{i}" for i in range(30)) + "\n" + "a," * 29 + "a\n",
            "c19 and 10 more; without",
        ),
        ("甲,乙\na,b\n", "one of: 甲, 乙; without a header line, choose"),
        ("text\n", "holds no text"),
        ("text\n" + "a" * 200 + "\n", "field larger than field limit (100)"),
    ],
)
def test_bad_csv(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str, message: str
) -> None:
    monkeypatch.setattr(formats, "MAX_CHARACTERS", 100)
    assert message in refusal(write(tmp_path, "a.csv", content))


def test_unknown_field(tmp_path: Path) -> None:
    path = write(tmp_path, "a.csv", "title,text\na,b\n")
    message = refusal(path, text_field="texts")
    assert "a.csv: no field 'texts'; did you mean 'text'? (found: title, text); without" in message
    path = write(tmp_path, "b.csv", "source\na\n")
    assert "pass --text-field NAME, another than" in refusal(path, source_field="source")
    path = write(tmp_path, "a.jsonl", '{"id": 1, "meta": {"title": "a"}}\n{"id": 2, "body": "b"}')
    assert "(found: id, meta.title)" in refusal(path, text_field="meta.titel")
    assert texts(path, text_field="meta.title") == ["a"]
    assert texts(path, text_field="body") == ["b"]  # absent in the first row, but not in all
    assert "plain text has no fields" in refusal(write(tmp_path, "a.txt", POEM), text_field="text")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\x89PNG\r\n\x1a\n", "a PNG image"),
        (b"", "a.txt: is empty"),
        (" \n\u3000\n".encode(), "a.txt: holds no text"),
        (gzip.compress(POEM.encode(), mtime=0)[:-9], "the gzip file is damaged or cut off"),
        (b"\x1f\x8babcdefghijkl", "the gzip file is damaged or cut off"),
    ],
)
def test_not_text(tmp_path: Path, content: bytes, message: str) -> None:
    path = write(tmp_path, "a.txt", content)
    for unit in ("document", "line", "paragraph"):
        assert message in refusal(path, unit=unit)


def test_bad_parquet(tmp_path: Path) -> None:
    assert "not a valid Parquet file" in refusal(write(tmp_path, "a.parquet", POEM))
    pq.write_table(pa.table({"text": ["好"] * 500, "id": range(500)}), tmp_path / "b.parquet")
    damaged = bytearray((tmp_path / "b.parquet").read_bytes())
    damaged[4:40] = bytes(36)
    assert "a.parquet: " in refusal(write(tmp_path, "a.parquet", bytes(damaged)))
    assert "no field 'txt'; did you mean 'text'?" in refusal(
        tmp_path / "b.parquet", text_field="txt"
    )


def test_missing_and_unreadable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path, "poems.txt", POEM)
    assert "no such file or folder; did you mean 'poems.txt'?" in refusal(tmp_path / "poem.txt")
    (tmp_path / "empty").mkdir()
    assert "no readable file in this folder" in refusal(tmp_path / "empty")

    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    assert refusal(path).endswith("poems.txt: cannot be read: Permission denied")


def test_memory_stays_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encodings, "PIECE", 10)
    for module in (formats, json_values, readers):
        monkeypatch.setattr(module, "MAX_CHARACTERS", 50)
    path = write(tmp_path, "a.txt", "一\n" + "a" * 500)
    assert "a.txt:2: a line of over 50 characters" in refusal(path, unit="line")
    assert len(texts(path)) == 1
    path = write(tmp_path, "a.txt", "好\n" * 60)
    assert "a paragraph of over 50 characters" in refusal(path, unit="paragraph")
    path = write(tmp_path, "b.txt", " " * 500 + "好")
    assert "begins with 50 blanks" in refusal(path)
    path = write(tmp_path, "a.json", json.dumps(["a" * 500]))
    assert "a.json:1: not valid JSON: no end within 50 characters" in refusal(path)


def test_notes_on_guesses_and_skipped_files(tmp_path: Path) -> None:
    for name, content in [("a.txt", PROSE), ("b.txt", PROSE.encode("gbk")), ("c.png", b"x")]:
        write(tmp_path, name, content)
    reader = Reader(tmp_path)
    assert reader.encodings == {
        str(tmp_path / "a.txt"): ("utf-8", False),
        str(tmp_path / "b.txt"): ("gb18030", True),
    }
    assert reader.skipped_files == {".png": 1}
    guess, skipped = reader.notes
    assert guess.startswith(f"{tmp_path / 'b.txt'}: read as gb18030, guessed (--encoding=NAME")
    assert skipped == f"{tmp_path}: files that are not read: 1 .png"
    chosen = Reader(tmp_path / "b.txt", ReadConfig(encoding="gbk"))
    assert chosen.notes == []

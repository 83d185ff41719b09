"""Field selection for tasks, and parallel files."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import numpy as np
import pytest

from wenmo.config import from_dict
from wenmo.text.choosing import choose_fields
from wenmo.text.config import ReadConfig, TaskConfig
from wenmo.text.readers import Record
from wenmo.text.tasks import GAP, Example, examples, open_records
from wenmo.types import WenmoError

AS_IT_IS = ReadConfig()


def task(name: str = "completion", **changes: object) -> TaskConfig:
    return from_dict(TaskConfig, {"name": name, **changes})


def write(folder: Path, name: str, content: str | list[object]) -> Path:
    path = folder / name
    if isinstance(content, list):
        content = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in content)
    data = content.encode()
    path.write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
    return path


def lessons(
    path: Path, config: TaskConfig, read: ReadConfig = AS_IT_IS, target: Path | None = None
) -> list[Example]:
    """The examples of a file whose fields are chosen as far as they are not given."""
    read, _ = choose_fields(path, read, config, target)
    return [e for r in open_records(path, read, config, target) for e in examples(r, config)]


def refusal(
    path: Path | str, config: TaskConfig, read: ReadConfig = AS_IT_IS, target: object = None
) -> str:
    with pytest.raises(WenmoError) as caught:
        lessons(path, config, read, target)  # type: ignore[arg-type]
    message = str(caught.value)
    assert "\n" not in message
    return message


# -- which fields ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("header", "source", "target"),
    [
        ("source,target", "source", "target"),
        ("id,Target,Source", "Source", "Target"),
        ("mr,ref", "mr", "ref"),
        ("upper,lower", "upper", "lower"),
        ("原文,译文,编号", "原文", "译文"),
        ("id,abstract,title", "abstract", "title"),
        ("id,text,summary", "text", "summary"),
        ("source,text,id", "source", "text"),
        ("question,whatever", "question", "whatever"),
        ("whatever,answer", "whatever", "answer"),
        ("zh,en", "zh", "en"),
        ("id,en,zh", "en", "zh"),
    ],
)
def test_fields_with_known_names(tmp_path: Path, header: str, source: str, target: str) -> None:
    names = header.split(",")
    row = dict(zip(names, "abc", strict=False))
    files = [
        write(tmp_path, "a.csv", f"{header}\n{','.join(row.values())}\n"),
        write(tmp_path, "a.tsv.gz", "\t".join(names) + "\n" + "\t".join(row.values()) + "\n"),
        write(tmp_path, "a.jsonl", [row]),
        write(tmp_path, "a.json", [[row]]),
    ]
    for path in files:
        read, note = choose_fields(path, ReadConfig(), task("translation"), None)
        assert (read.source_field, read.text_field) == (source, target)
        assert note is not None
        assert note.startswith(f"source: {source}; target: {target}")
        assert lessons(path, task("paraphrase")) == [(row[source], row[target])]


def test_nested_languages(tmp_path: Path) -> None:
    path = write(tmp_path, "a.jsonl", [{"id": "1", "translation": {"en": "Hi.", "zh": "嗨。"}}])
    assert lessons(path, task("translation")) == [("Hi.", "嗨。")]


def test_chosen_fields_stay(tmp_path: Path) -> None:
    path = write(tmp_path, "a.csv", "source,target,zh\na,b,c\n")
    both = ReadConfig(source_field="zh", text_field="source")
    assert choose_fields(path, both, task("translation"), None)[0] == both
    assert lessons(path, task("translation"), ReadConfig(source_field="zh")) == [("c", "b")]
    assert lessons(path, task("translation"), ReadConfig(text_field="zh")) == [("a", "c")]
    path = write(tmp_path, "b.tsv", "Hi.\t嗨。\n")
    assert lessons(path, task("translation"), ReadConfig(source_field="2")) == [("嗨。", "Hi.")]
    path = write(tmp_path, "c.jsonl", [{"turns": ["a", "b"], "other": ["c", "d"]}])
    assert lessons(path, task("dialogue"), ReadConfig(text_field="other")) == [("user: c", "d")]


def test_two_columns_without_a_header(tmp_path: Path) -> None:
    path = write(tmp_path, "pairs.tsv", "Ok.\tOk.\nHi.\t嗨。\n")
    read, note = choose_fields(path, ReadConfig(), task("translation"), None)
    assert (read.source_field, read.text_field) == ("1", "2")
    expected = "no header line; source: column 1; target: column 2"
    assert note == expected
    assert lessons(path, task("translation")) == [("Ok.", "Ok."), ("Hi.", "嗨。")]


@pytest.mark.parametrize("name", ["completion", "infilling"])
def test_single_text_field_needs_no_selection(tmp_path: Path, name: str) -> None:
    path = write(tmp_path, "a.txt", "春眠不觉晓")
    assert choose_fields(path, ReadConfig(), task(name), None) == (ReadConfig(), None)
    assert choose_fields("-", ReadConfig(), task(name), None) == (ReadConfig(), None)


def test_ambiguous_fields_are_refused(tmp_path: Path) -> None:
    config, talk = task("translation"), task("dialogue")
    path = write(tmp_path, "a.tsv", "甲\t乙\t丙\n")
    assert refusal(path, config).endswith(
        "pass --source-field NAME and --text-field NAME, two of: 甲, 乙, 丙; without a header "
        "line, choose columns by number: --text-field 1"
    )
    path = write(tmp_path, "a.jsonl", [{"甲": "a", "乙": "b"}])
    assert refusal(path, config).endswith("--text-field NAME, two of: 甲, 乙")
    assert "pass --text-field NAME, one of: 甲, 乙; " in refusal(path, talk)
    text = write(tmp_path, "a.txt", "春眠")
    for plain in (text, "-", write(tmp_path, "b.jsonl", ["a"])):
        assert "give the lines that answer it (--target FILE)" in refusal(plain, config)
        assert "no conversations" in refusal(plain, talk)
    assert "did you mean 'a.tsv'" in refusal(tmp_path / "a.tsb", config)


# -- parallel files --------------------------------------------------------------------------------


def test_parallel_files(tmp_path: Path) -> None:
    source = write(tmp_path, "a.en.gz", "Wait!\r\n\n Hi. \nNo.\n \nYes.")
    target = tmp_path / "a.zh"
    target.write_bytes(
        "等等，这里的人都来了！\n好\n嗨，我们大家都很好。\n\n\n是的，没有问题。\n".encode("gb18030")
    )
    config = task("translation")
    expected = [
        ("Wait!", "等等，这里的人都来了！"),
        ("Hi.", "嗨，我们大家都很好。"),
        ("Yes.", "是的，没有问题。"),
    ]
    assert lessons(source, config, target=target) == expected
    reader = open_records(source, ReadConfig(), config, target)
    assert list(reader) == list(reader) == [Record(t, s) for s, t in expected]
    assert (reader.counts.records, reader.counts.missing, reader.counts.files) == (3, 3, 2)
    assert lessons(source, config, target=source)[0] == ("Wait!", "Wait!")


@pytest.mark.parametrize(("sources", "targets"), [(3, 5), (5, 3), (0, 2), (2, 0), (1, 2)])
def test_parallel_files_of_different_lengths(tmp_path: Path, sources: int, targets: int) -> None:
    a = write(tmp_path, "a.en", "a\n" * sources)
    b = write(tmp_path, "a.de", "b\n" * targets)
    message = refusal(a, task("translation"), target=b)
    assert message.startswith(f"{a} has {sources} lines and {b} has {targets}: ")


def test_invalid_parallel_files(tmp_path: Path) -> None:
    plain, rows = write(tmp_path, "a.txt", "a\n"), write(tmp_path, "a.jsonl", [{"text": "a"}])
    config = task("translation")
    for pair in [(plain, rows), (rows, plain), (plain, tmp_path), (tmp_path, plain)]:
        assert "parallel files are two plain texts" in refusal(pair[0], config, target=pair[1])
    assert "no such file" in refusal(plain, config, target=tmp_path / "b.txt")
    message = refusal(plain, config, ReadConfig(text_field="x"), target=plain)
    assert "leave out --source-field" in message
    for name in ("completion", "dialogue", "infilling"):
        assert f"belongs to pairs, not to {name}" in refusal(plain, task(name), target=plain)
    message = refusal(plain, task("translation", control=["x"]), target=plain)
    assert "leave out --control" in message


@pytest.mark.parametrize("sides", [("source",), ("source", "target")])
def test_carriage_return_ends_no_line_of_parallel_files(
    tmp_path: Path, sides: tuple[str, ...]
) -> None:
    numbers = {"source": 5, "target": 9}
    for side, number in numbers.items():
        cr = "\r more" if side in sides else " more"
        lines = [f"{side} {i}{cr if i == number else ''}\r\n" for i in range(12)]
        (tmp_path / side).write_bytes("".join(lines).encode())
    config = task("translation")
    source, target = tmp_path / "source", tmp_path / "target"
    pairs = lessons(source, config, target=target)
    assert [(s.split()[1], t.split()[1]) for s, t in pairs] == [(str(i), str(i)) for i in range(12)]
    assert pairs[5][0] == ("source 5  more" if "source" in sides else "source 5 more")
    notes = open_records(source, ReadConfig(), config, target).notes
    expected = [f"{tmp_path / side}:{numbers[side] + 1}: a carriage return is" for side in sides]
    assert len(notes) == len(sides)
    assert all(map(str.startswith, notes, expected))


# -- real files ------------------------------------------------------------------------------------


def test_real_pairs(data: Path) -> None:
    made = lessons(data / "mt/tatoeba_en_zh/valid.tsv", task("translation"))
    assert len(made) == 1_170
    assert made[:2] == [("Listen.", "听着。"), ("Birds fly.", "鸟类飞行。")]
    made = lessons(data / "zh/couplets_test.tsv", task("paraphrase"))
    assert len(made) == 1_468
    assert made[0] == ("冕旒丰暇日", "乘景暂经过")
    assert len(lessons(data / "d2t/e2e_dev.csv", task("data-to-text"))) == 4_672
    english, german = data / "mt/multi30k/valid.en", data / "mt/multi30k/valid.de"
    assert len(lessons(english, task("translation"), target=german)) == 1_014


def test_real_summaries(data: Path) -> None:
    config = task("summarization")
    assert len(lessons(data / "summarization/zh_csl_valid.jsonl", config)) == 100
    path = data / "summarization/en_scitldr_dev.jsonl"
    papers = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    assert len(lessons(path, config)) == sum(len(paper["targets"]) for paper in papers)


def test_real_dialogues(data: Path) -> None:
    for name in ("zh_task_test", "en_selfdialogue_valid"):
        path = data / "dialogue" / f"{name}.jsonl"
        talks = [json.loads(line)["turns"] for line in path.read_text("utf-8").splitlines()]
        made = lessons(path, task("dialogue"))
        assert len(made) == sum(len(turns) - 1 for turns in talks)
        assert max(source.count("\n") for source, _ in made) == 5


def test_real_poems(data: Path) -> None:
    path = data / "zh/poems_valid.jsonl"
    read = ReadConfig(text_field="lines")
    made = lessons(path, task(control=["form", "author"]), read)
    assert len(made) == 637
    assert made[0] == (
        "form=五言绝句\nauthor=太宗皇帝\n",
        "散影玉阶柳\n含翠隐鸣蝉\n微形藏叶里\n乱响出风前",
    )
    shares = []
    for source, piece in lessons(path, task("infilling"), read):
        text = source.replace(GAP, piece)
        shares.append(len("".join(piece.split())) / len("".join(text.split())))
    assert 0.1 <= min(shares) < 0.15
    assert 0.45 < max(shares) <= 0.5
    assert abs(np.mean(shares) - 0.3) < 0.01

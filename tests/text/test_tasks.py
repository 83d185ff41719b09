"""Examples of each task, against hand-worked ones."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wenmo.config import from_dict
from wenmo.text.choosing import choose_fields
from wenmo.text.config import ReadConfig, TaskConfig
from wenmo.text.control import resolve
from wenmo.text.readers import Record, Segment
from wenmo.text.tasks import (
    GAP,
    GAPS,
    Example,
    examples,
    group_key,
    history_source,
    open_records,
    source_of,
)
from wenmo.types import WenmoError

AS_IT_IS = ReadConfig()
PAIRS = ["translation", "summarization", "paraphrase", "data-to-text"]


def task(name: str = "completion", **changes: object) -> TaskConfig:
    return from_dict(TaskConfig, {"name": name, **changes})


def write(folder: Path, name: str, content: str | list[object]) -> Path:
    path = folder / name
    if isinstance(content, list):
        content = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in content)
    path.write_text(content, encoding="utf-8")
    return path


def lessons(path: Path, config: TaskConfig, read: ReadConfig = AS_IT_IS) -> list[Example]:
    """The examples of a file whose fields are chosen as far as they are not given."""
    read, _ = choose_fields(path, read, config, None)
    return [e for r in open_records(path, read, config) for e in examples(r, config)]


def refusal(path: Path, config: TaskConfig, read: ReadConfig = AS_IT_IS) -> str:
    with pytest.raises(WenmoError) as caught:
        lessons(path, config, read)
    message = str(caught.value)
    assert "\n" not in message
    return message


# -- pairs -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", PAIRS)
def test_source_and_target(name: str) -> None:
    config = task(name)
    assert config.paired
    pair = Record("等等！", "Wait!")
    assert list(examples(pair, config)) == [("Wait!", "等等！")]
    assert source_of(config, "Wait!", {}) == "Wait!"
    assert group_key(pair, config) == "Wait!"


def test_each_reference_gives_an_example(tmp_path: Path) -> None:
    rows = [
        {"source": ["Wait!", "Now."], "targets": ["等等！", " ", "等一下！"]},
        {"source": "Hi.", "targets": "嗨。"},
        {"source": "", "targets": ["好"]},
        {"source": "No.", "targets": []},
        {"source": "No.", "targets": [""]},
    ]
    path = write(tmp_path, "a.jsonl", rows)
    expected = [("Wait!\nNow.", "等等！"), ("Wait!\nNow.", "等一下！"), ("Hi.", "嗨。")]
    assert lessons(path, task("translation")) == expected


def test_completion_has_no_source() -> None:
    config = task()
    assert not config.paired
    assert list(examples(Record("春眠", "x"), config)) == [("", "春眠")]
    assert source_of(config, "春", {}) == ""


# -- control codes ---------------------------------------------------------------------------------


def test_control_codes_precede_the_source(tmp_path: Path) -> None:
    rows = [
        {
            "author": "李白",
            "form": "五言绝句",
            "lines": ["床前明月光", "疑是地上霜"],
            "meta": {"n": 1},
        },
        {"author": None, "form": "五言\n绝句", "lines": ["春眠不觉晓"]},
        {"author": " ", "lines": ["处处闻啼鸟"]},
    ]
    path = write(tmp_path, "a.jsonl", rows)
    config = task(control=["form", "author", "meta.n"])
    assert config.paired
    assert lessons(path, config, ReadConfig(text_field="lines")) == [
        ("form=五言绝句\nauthor=李白\nmeta.n=1\n", "床前明月光\n疑是地上霜"),
        ("form=五言 绝句\n", "春眠不觉晓"),
        ("", "处处闻啼鸟"),
    ]
    pairs = ReadConfig(text_field="lines", source_field="form")
    named = task("translation", control=["author"])
    assert lessons(path, named, pairs)[0].source == "author=李白\n五言绝句"


def test_text_field_is_not_a_control_field(tmp_path: Path) -> None:
    path = write(tmp_path, "a.jsonl", [{"tone": "glad", "words": "What a day!"}])
    assert lessons(path, task(control=["tone"])) == [("tone=glad\n", "What a day!")]
    path = write(tmp_path, "a.csv", "source,tone,other\na,glad,b\n")
    assert lessons(path, task("paraphrase", control=["tone"])) == [("tone=glad\na", "b")]


def test_control_codes_of_tables_and_parquet(tmp_path: Path) -> None:
    path = write(tmp_path, "a.tsv", "五言\t春眠\n七言\t春风\n")
    assert lessons(path, task(control=["1"]), ReadConfig(text_field="2")) == [
        ("1=五言\n", "春眠"),
        ("1=七言\n", "春风"),
    ]
    message = refusal(path, task(control=["form"]), ReadConfig(text_field="2"))
    assert "choose all columns by number, or all by name" in message
    pq.write_table(pa.table({"text": ["春眠"], "form": ["五言"], "n": [1]}), tmp_path / "a.parquet")
    for read in (ReadConfig(), ReadConfig(text_field="text")):
        path = tmp_path / "a.parquet"
        assert lessons(path, task(control=["form"]), read) == [("form=五言\n", "春眠")]


def test_unknown_control_field(tmp_path: Path) -> None:
    path = write(tmp_path, "a.jsonl", [{"text": "a", "form": "b"}])
    message = refusal(path, task(control=["from"]))
    assert message.endswith("no field 'from'; did you mean 'form'? (found: text, form)")
    path = write(tmp_path, "b.jsonl", [{"text": "a", "form": {"kind": "b"}}])
    assert refusal(path, task(control=["form"])).endswith("pass --control NAME, one of: form.kind")
    path = write(tmp_path, "c.jsonl", ["a", "b"])
    assert "text where an object is expected" in refusal(path, task(control=["form"]))
    assert "plain text has no fields" in refusal(
        write(tmp_path, "a.txt", "a"), task(control=["form"])
    )


def test_control_codes_at_generation() -> None:
    config = task(control=["form", "author"])
    assert (
        source_of(config, "床前", {"author": "李白", "form": "五言"}) == "form=五言\nauthor=李白\n"
    )
    assert source_of(config, "", {"author": "  李\n白 "}) == "author=李 白\n"
    assert source_of(task("translation", control=["tone"]), "Hi.", {"tone": "x"}) == "tone=x\nHi."
    with pytest.raises(WenmoError, match=r"'fom'; did you mean 'form'\? \(known: form, author\)"):
        source_of(config, "", {"fom": "五言"})
    with pytest.raises(WenmoError, match="known: none"):
        source_of(task("translation"), "Hi.", {"tone": "x"})


# -- dialogue --------------------------------------------------------------------------------------

TALK = [Segment("你好"), Segment("您好，\n请讲。"), Segment("几点开门？"), Segment("九点。")]


def test_every_turn_but_the_first_is_a_reply() -> None:
    assert list(examples(Record("", segments=tuple(TALK)), task("dialogue"))) == [
        ("user: 你好", "您好，\n请讲。"),
        ("assistant: 你好\nuser: 您好， 请讲。", "几点开门？"),
        ("user: 你好\nassistant: 您好， 请讲。\nuser: 几点开门？", "九点。"),
    ]


def test_history_is_bounded() -> None:
    last = list(examples(Record("", segments=tuple(TALK)), task("dialogue", history=2)))[-1]
    assert last == ("assistant: 您好， 请讲。\nuser: 几点开门？", "九点。")
    with pytest.raises(WenmoError, match="history=0"):
        task("dialogue", history=0)


def test_roles(tmp_path: Path) -> None:
    def messages(*turns: tuple[str, str]) -> list[dict[str, str]]:
        return [{"role": role, "content": text} for role, text in turns]

    openai = messages(
        ("system", "Be brief."), ("user", "Hi"), ("assistant", "Hello."), ("user", "?"),
        ("user", "Time?"), ("Assistant", "Nine."),
    )  # fmt: skip
    path = write(tmp_path, "a.jsonl", [{"id": 1, "messages": openai}])
    assert lessons(path, task("dialogue", history=3)) == [
        ("system: Be brief.\nuser: Hi", "Hello."),
        ("system: Be brief.\nassistant: Hello.\nuser: ?\nuser: Time?", "Nine."),
    ]
    speakers = [
        {"speaker": "罗密欧", "text": "谁？"},
        {"speaker": "朱丽叶", "text": "我。"},
        {"speaker": "朱丽叶", "text": "你呢？"},
    ]
    path = write(tmp_path, "b.json", [{"对话": speakers, "场": "二"}])
    assert lessons(path, task("dialogue")) == [
        ("user: 谁？", "我。"),
        ("user: 谁？\nassistant: 我。", "你呢？"),
    ]
    shared = [{"from": "human", "value": "a"}, {"from": "gpt", "value": "b"}]
    path = write(tmp_path, "c.jsonl", [{"conversations": [*shared, *shared]}])
    replies = [("user: a", "b"), ("user: a\nassistant: b\nuser: a", "b")]
    assert lessons(path, task("dialogue")) == replies
    pq.write_table(pa.table({"dialog": [[*shared, *shared]]}), tmp_path / "d.parquet")
    assert lessons(tmp_path / "d.parquet", task("dialogue")) == replies


def test_empty_turns_and_conversations_without_a_reply(tmp_path: Path) -> None:
    rows: list[object] = [
        {"turns": ["a", "", "b", None, {"role": "user", "content": None}]},
        {"turns": ["alone"]},
        {"turns": []},
        {"turns": [{"role": "system", "content": "x"}, {"role": "user", "content": "y"}]},
        {"turns": None},
        {},
    ]
    path = write(tmp_path, "a.jsonl", rows)
    assert lessons(path, task("dialogue")) == [("assistant: a", "b")]


@pytest.mark.parametrize(
    ("turns", "message"),
    [
        ("a: b", "field 'turns' holds text where a list of turns is expected"),
        ([1], "a.jsonl:1: a number where a turn is expected: text, or an object with the keys"),
        ([{"role": "user"}], "an object where a turn is expected"),
        ([{"role": "user", "content": 3}], "a number where a turn is expected"),
        (["\ud800", "b"], "unpaired surrogate"),
    ],
)
def test_invalid_turns(tmp_path: Path, turns: object, message: str) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(json.dumps({"turns": turns}))
    assert message in refusal(path, task("dialogue"))


def test_multi_turn_conversation() -> None:
    config = task("dialogue", history=3, control=["topic"])
    said = ["one", "你好", "two\nlines", "", "three"]
    assert history_source(said, config) == "user: two lines\nuser: three"
    assert history_source(said[:3], config) == "user: one\nassistant: 你好\nuser: two lines"
    assert source_of(config, "Hi", {"topic": "film"}) == "topic=film\nuser: Hi"
    for empty in ([], ["a", " "]):
        with pytest.raises(WenmoError, match="something to reply to"):
            history_source(empty, config)


@given(st.lists(st.text("ab 好", min_size=1).filter(str.strip), min_size=2, max_size=9), st.data())
def test_chat_source_equals_training_source(turns: list[str], draw: st.DataObject) -> None:
    config = task("dialogue", history=draw.draw(st.integers(1, 9)))
    made = list(examples(Record("", segments=tuple(map(Segment, turns))), config))
    assert [e.target for e in made] == turns[1:]
    for number, example in enumerate(made, 1):
        assert example.source == history_source(turns[:number], config)


# -- infilling -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "The quick brown fox jumps over the lazy dog,\nand the dog sleeps.",
        "春眠不觉晓，处处闻啼鸟。",
    ],
)
def test_gaps(text: str) -> None:
    config = task("infilling")
    made = list(examples(Record(text), config))
    assert 1 < len(made) <= GAPS
    assert len(set(made)) == len(made)
    assert made == list(examples(Record(text), config))  # the same every time
    for source, piece in made:
        assert source.count(GAP) == 1
        assert source.replace(GAP, piece) == text
        assert piece == piece.strip()
        share = len(piece.split()) / len(text.split()) if text.isascii() else len(piece) / len(text)
        assert 0.1 <= share <= 0.5
        if text.isascii():  # whole words
            assert set(piece.split()) <= set(text.split())
    assert group_key(Record(text), config) == text


@given(st.text("ab_ \n,。春眠", max_size=40))
def test_filled_gap_restores_the_text(text: str) -> None:
    made = list(examples(Record(text), task("infilling")))
    assert len(made) <= GAPS
    for source, piece in made:
        assert source.count(GAP) == 1
        assert source.replace(GAP, piece) == text
        assert 0 < len(piece) < len(text.strip())


@pytest.mark.parametrize("text", ["word", "春", f"a {GAP} b", "a ___ b", "a [MASK] b", "", "——"])
def test_texts_without_a_gap(text: str) -> None:
    assert list(examples(Record(text), task("infilling"))) == []


def test_prompt_must_have_one_gap() -> None:
    config = task("infilling")
    assert source_of(config, "春眠____晓", {}) == "春眠____晓"
    for gap in ("___", "_______", "________", "＿＿", "＿＿＿＿＿", "[MASK]", "<mask>", "[mask]"):
        assert source_of(config, f"春眠{gap}晓", {}) == "春眠____晓"
    assert source_of(config, "a_b __c__ ＿____", {}) == "a_b __c__ ＿____"
    for prompt in ("春眠", "", "a ____ b ____"):
        with pytest.raises(WenmoError, match=r"one gap, written ____: this one has \d"):
            source_of(config, prompt, {})
    with pytest.raises(WenmoError, match="translation needs a text"):
        source_of(task("translation"), " ", {})


def test_unknown_control_field_is_refused_before_defaults() -> None:
    config = TaskConfig(control=("form",))
    with pytest.raises(WenmoError, match="no control field 'style'"):
        resolve({"style": "五言绝句"}, config, {"form": {"五言律诗": 3}})

"""Formats that people bring: which fields are read, which are told, and what is asked."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from wenmo.config import from_dict
from wenmo.text.choosing import choose_fields
from wenmo.text.config import ReadConfig, TaskConfig
from wenmo.text.field_names import find_pair, language_of, task_of_pair
from wenmo.text.inspection import inspect
from wenmo.text.readers import Reader
from wenmo.text.tasks import Example, examples, open_records
from wenmo.types import WenmoError


def write(folder: Path, name: str, content: object) -> Path:
    path = folder / name
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return path


def lessons(path: Path, name: str, **reading: object) -> tuple[list[Example], str | None, Reader]:
    """The examples of a file for a task, what was told of its fields, and its reader."""
    task = from_dict(TaskConfig, {"name": name})
    read, note = choose_fields(path, from_dict(ReadConfig, reading), task, None)
    reader = open_records(path, read, task)
    return [each for record in reader for each in examples(record, task)], note, reader


def refusal(path: Path, name: str, **reading: object) -> str:
    with pytest.raises(WenmoError) as caught:
        lessons(path, name, **reading)
    assert "\n" not in str(caught.value)
    return str(caught.value)


ALPACA = [
    {"instruction": "Say it in German.", "input": "The mill.", "output": "Die Mühle.", "id": 1},
    {"instruction": "Name a river.", "input": "", "output": "The Alder.", "id": 2},
]


# -- instructions and questions ------------------------------------------------------------------


def test_alpaca_keeps_instructions_and_records_without_input(tmp_path: Path) -> None:
    path = write(tmp_path, "alpaca.json", ALPACA)
    made, note, reader = lessons(path, "paraphrase")
    assert made == [
        ("Say it in German.\nThe mill.", "Die Mühle."),
        ("Name a river.", "The Alder."),
    ]
    assert note == "source: instruction and input; target: output; not used: id"
    assert reader.counts.missing == 0


def test_a_part_of_alpaca_on_request_tells_what_is_left(tmp_path: Path) -> None:
    path = write(tmp_path, "alpaca.json", ALPACA)
    made, note, reader = lessons(path, "paraphrase", source_field="input")
    assert made == [("The mill.", "Die Mühle.")]
    assert note == "source: input; target: output; not used: instruction, id"
    assert reader.counts.missing == 1


def test_alpaca_as_conversations(tmp_path: Path) -> None:
    path = write(tmp_path, "alpaca.json", ALPACA)
    made, note, _ = lessons(path, "dialogue")
    assert made[1] == ("user: Name a river.", "The Alder.")
    assert note is not None
    assert "user: instruction and input; assistant: output; not used: id" in note


def test_alpaca_without_a_task_is_asked_about(tmp_path: Path) -> None:
    message = refusal(write(tmp_path, "alpaca.json", ALPACA), "completion")
    assert "pass --text-field NAME, one of: instruction, input, output" in message
    assert (
        "pass --task paraphrase (source → target, as any task of pairs) to learn output from "
        "instruction and input" in message
    )


def test_meaning_representations_are_data_to_text(tmp_path: Path) -> None:
    path = write(tmp_path, "e2e.csv", "mr,ref\nname[Alder],Alder is a mill.\n")
    assert "pass --task data-to-text to learn ref from mr" in refusal(path, "completion")


@pytest.mark.parametrize(
    ("source", "target", "advice"),
    [
        ("document", "title", "--task summarization"),
        ("English", "中文", "--task translation"),
        ("row.mr", "row.ref", "--task data-to-text"),
        ("instruction,input", "output", "--task paraphrase (source"),
    ],
)
def test_the_task_that_suits_a_pair(source: str, target: str, advice: str) -> None:
    assert task_of_pair(source, target).startswith(advice)


def test_a_table_of_sentences_is_not_asked_for_a_field_by_its_sentences(tmp_path: Path) -> None:
    path = write(tmp_path, "pairs.tsv", "Hi.\t嗨。\nHe walks.\t他走。\n")
    assert refusal(path, "completion").endswith(
        "two columns of text: pass --task translation (or another of pairs), or --text-field 1"
    )
    path = write(tmp_path, "three.tsv", "Hi.\t嗨。\tHallo.\nYes.\t是。\tJa.\n")
    assert "3 columns without a header line" in refusal(path, "completion")


def test_questions_keep_their_context(tmp_path: Path) -> None:
    row = {"context": "The mill stands here.", "question": "Where?", "answer": "here"}
    made, _, _ = lessons(write(tmp_path, "a.json", [row]), "translation")
    assert made == [("Where?\nThe mill stands here.", "here")]
    squad = {**row, "answers": {"text": ["here"], "answer_start": [16]}}
    del squad["answer"]
    made, _, _ = lessons(write(tmp_path, "b.json", [squad]), "translation")
    assert made == [("Where?\nThe mill stands here.", "here")]


@pytest.mark.parametrize(
    ("names", "pair"),
    [
        ("prompt completion", ("prompt", "completion")),
        ("instruction context response category", ("instruction,context", "response")),
        ("指令 输入 输出", ("指令,输入", "输出")),
        ("word definition", ("word", "definition")),
        ("row.question row.answer", ("row.question", "row.answer")),
        ("Instruction Input Output", ("Instruction,Input", "Output")),
        ("english chinese", ("english", "chinese")),
        ("英文 中文 编号", ("英文", "中文")),
        ("古文 现代文", ("古文", "现代文")),
        ("en-US zh_CN", ("en-US", "zh_CN")),
        ("id name", None),
        ("prompt chosen rejected", None),
    ],
)
def test_pairs_are_known_by_their_names(names: str, pair: tuple[str, str] | None) -> None:
    assert find_pair(names.split()) == pair


@pytest.mark.parametrize("name", ["id", "no", "name", "en_route", "zh-score", ""])
def test_what_names_no_language(name: str) -> None:
    assert language_of(name) is None


def test_several_fields_may_be_chosen(tmp_path: Path) -> None:
    path = write(tmp_path, "a.csv", "a,b,c\n1,2,3\n4,,6\n")
    made, _, _ = lessons(path, "translation", source_field="a, b", text_field="c")
    assert made == [("1\n2", "3"), ("4", "6")]
    path = write(tmp_path, "b.csv", '"a,b",c\n1,2\n')  # one column with a comma in its name
    made, _, _ = lessons(path, "translation", source_field="a,b", text_field="c")
    assert made == [("1", "2")]
    assert "no field 'x'" in refusal(path, "translation", source_field="c,x", text_field="c")


# -- conversations -------------------------------------------------------------------------------


def test_conversations_without_a_task_are_no_texts_of_their_ids(tmp_path: Path) -> None:
    row = {
        "id": "x1",
        "conversations": [{"from": "human", "value": "a"}, {"from": "gpt", "value": "b"}],
    }
    path = write(tmp_path, "sharegpt.json", [row, row])
    assert "field 'conversations' holds conversations: pass --task dialogue" in refusal(
        path, "completion"
    )
    made, note, _ = lessons(path, "dialogue")
    assert made[0] == ("user: a", "b")
    assert note == "turns: conversations; not used: id"
    one = write(tmp_path, "one.json", row)  # a single object, whose turns are no records
    assert lessons(one, "dialogue")[0] == [("user: a", "b")]


def test_an_identifier_is_no_text(tmp_path: Path) -> None:
    message = refusal(write(tmp_path, "a.json", [{"id": "x1", "score": 3}]), "completion")
    assert "which field holds the text? pass --text-field NAME, one of: id, score" in message


def test_content_parts(tmp_path: Path) -> None:
    def row(*parts: object) -> dict[str, object]:
        reply = {"role": "assistant", "content": [{"type": "text", "text": "a mill"}]}
        return {"messages": [{"role": "user", "content": list(parts)}, reply]}

    text = {"type": "text", "text": "What is it?"}
    path = write(tmp_path, "a.json", [row(text, {"type": "input_text", "text": "Say."})])
    assert lessons(path, "dialogue")[0] == [("user: What is it? Say.", "a mill")]
    path = write(tmp_path, "b.json", [row(text, {"type": "image_url", "image_url": {"url": "x"}})])
    assert "b.json:1: a message holds a part of type 'image_url'" in refusal(path, "dialogue")


@pytest.mark.parametrize(
    ("message", "holds"),
    [
        ({"role": "assistant", "content": None, "tool_calls": [{"id": "1"}]}, "calls tools"),
        ({"role": "assistant", "function_call": {"name": "add"}}, "calls tools (function_call)"),
        ({"role": "tool", "content": "5"}, "has the role 'tool'"),
    ],
)
def test_tool_calls_are_refused(tmp_path: Path, message: dict[str, object], holds: str) -> None:
    """Left out, a tool's answer would become something that the user said."""
    reply = {"role": "assistant", "content": "5"}
    rows = [{"messages": [{"role": "user", "content": "2 + 3?"}, message, reply]}]
    path = write(tmp_path, "a.json", rows)
    refused = refusal(path, "dialogue")
    assert "a.json:1: a message " in refused
    assert holds in refused


TICKETS = """ticket,sender,message,time
7,customer,The mill stands still.,1
8,customer,Hi.,2
7,customer,What now?,3
7,agent,Open the sluice.,4
8,agent,Hello.,5
,agent,lost,6
8,customer,NULL,7
"""


def test_a_message_a_row(tmp_path: Path) -> None:
    path = write(tmp_path, "tickets.csv", TICKETS)
    made, note, reader = lessons(path, "dialogue")
    assert made == [
        ("user: The mill stands still. What now?", "Open the sluice."),
        ("user: Hi.", "Hello."),
    ]
    assert note == ("conversation: ticket; message: message; speaker: sender; not used: time")
    assert reader.counts.missing == 0
    assert reader.counts.rows == 7
    assert reader.counts.rows_left_out == {("conversation", "empty"): 1, ("message", "NULL"): 1}
    named = TICKETS.replace("ticket", "nr", 1).replace("message", "words", 1)
    path = write(tmp_path, "named.csv", named)
    assert "--group-field NAME" in refusal(path, "dialogue")
    assert "pass --text-field NAME, one of: sender" in refusal(path, "dialogue", group_field="nr")
    given = {"group_field": "nr", "text_field": "words"}
    assert lessons(path, "dialogue", **given)[0] == made
    assert "no field 'nrr'" in refusal(path, "dialogue", group_field="nrr", text_field="words")


LEFT_OUT = (
    "ticket,sender,message\n"
    + "".join(f"{n},Customer,Hello {n}.\n{n},Agent,Yes {n}.\n" for n in range(9))
    + "0,,whose words?\n1,N/A,whose?\n2,Agent,\n3,Agent,NULL\n4,NULL,NULL\n0,Customer,Thanks.\n"
)


def test_the_counts_of_rows_add_up_and_nobody_becomes_a_speaker(tmp_path: Path) -> None:
    path = write(tmp_path, "tickets.csv", LEFT_OUT)
    found = inspect(path, task="dialogue")
    assert found.lines[1] == (
        "24 rows: 19 messages in 9 conversations in 1 file; left out: 2 rows without a speaker "
        "(1 × empty, 1 × N/A), 3 rows without a message (1 × empty, 2 × NULL); missing_values=[] "
        "reads such words as text"
    )
    assert "5 of 24 rows are left out" in found.warnings
    made, _, _ = lessons(path, "dialogue")
    assert [target for _, target in made][:2] == ["Yes 0.", "Thanks."]
    nobody = write(tmp_path, "nobody.csv", "ticket,sender,message\n1,,a\n1,,b\n")
    assert "holds no text: 2 rows without a speaker (2 × empty)" in refusal(nobody, "dialogue")


def test_who_is_learnt_from_is_told_and_chosen(tmp_path: Path) -> None:
    path = write(tmp_path, "tickets.csv", LEFT_OUT)
    told = inspect(path, task="dialogue").lines[2]
    assert told.startswith("learnt: every turn after the first is a reply; speakers: ")
    chosen = inspect(path, task="dialogue", settings=["reply_speakers=agent"])
    assert chosen.lines[2] == "learnt: replies of: Agent"
    assert chosen.counts["examples"] == 9
    with pytest.raises(WenmoError, match=r"with a reply of Bot \(speakers: "):
        inspect(path, task="dialogue", settings=["reply_speakers=Bot"])
    with pytest.raises(WenmoError, match="pass --task dialogue"):
        inspect(path, settings=["reply_speakers=Bot"])
    alpaca = write(tmp_path, "alpaca.json", ALPACA)
    assert inspect(alpaca, task="dialogue").lines[2] == "learnt: replies of: assistant"


def test_options_of_conversations_that_make_no_sense(tmp_path: Path) -> None:
    path = write(tmp_path, "tickets.csv", TICKETS)
    assert "pass --task dialogue" in refusal(path, "completion", group_field="ticket")
    assert "needs --group-field" in refusal(path, "dialogue", speaker_field="a", text_field="b")


# -- headers, tabs, dictionaries -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "pairs", "told"),
    [
        ("english,chinese\nHe walks,他走\n", 1, "source: english; target: chinese"),
        ("英文,中文\nHe walks,他走\n", 1, "source: 英文; target: 中文"),
        ("orig,trad\nHe walks,他走\nShe sings,她唱\n", 2, "source: orig; target: trad"),
        ("Hi.,嗨。\nHe walks.,他走。\n", 2, "no header line; source: column 1; target: column 2"),
        (
            "晚风摇树树还挺,晨露润花花更红\n一二三四五,六七八九十\n",
            2,
            "no header line; source: column 1",
        ),
    ],
)
def test_headers_of_two_columns(tmp_path: Path, content: str, pairs: int, told: str) -> None:
    path = write(tmp_path, "a.csv", content)
    made, note, _ = lessons(path, "translation")
    assert len(made) == pairs
    assert note is not None
    assert told in note


def test_a_doubtful_header_is_asked_about(tmp_path: Path) -> None:
    path = write(tmp_path, "a.csv", "left side,right\nmill,Muehle\nriver,Fluss\n")
    message = refusal(path, "translation")
    assert "is the first line a header, or a pair (left side, right)?" in message
    assert '--source-field "left side" --text-field right' in message
    assert "--source-field 1 --text-field 2" in message


@pytest.mark.parametrize(
    "content",
    [
        "Go.\t走。\tCC-BY 2.0 (France) tatoeba.org #1\nHi.\t嗨。\tCC-BY 2.0 (France) #2\n",
        "1276\tGo.\t2481\t走。\n1277\tHi.\t2482\t嗨。\n",
        "#separator:tab\n#html:true\n#tags column:3\nGo.\t走。\nHi.\t嗨。\n",
    ],
    ids=["tatoeba", "tatoeba with numbers", "anki"],
)
def test_tabs_in_a_text_are_columns(tmp_path: Path, content: str) -> None:
    path = write(tmp_path, "a.txt", content)
    assert lessons(path, "translation")[0] == [("Go.", "走。"), ("Hi.", "嗨。")]


def test_a_text_with_a_tab_here_and_there_has_no_columns(tmp_path: Path) -> None:
    path = write(tmp_path, "a.txt", "Go.\t走。\nno tab\nHi.\t嗨。\n")
    assert "no pairs, only texts: give the lines" in refusal(path, "translation")


def test_records_under_a_key(tmp_path: Path) -> None:
    rows = [{"title": "t", "text": f"river {n}"} for n in range(3)]
    found = [f"river {n}" for n in range(3)]
    for content in (
        {"version": "1.1", "data": rows},
        {"version": "1.1", "foo": rows, "end": [1, 2]},
        {"response": {"status": "ok", "body": {"hits": rows}}, "took": 3},
        {"data": rows, "text": "about this file"},
    ):
        reader = Reader(write(tmp_path, "a.json", content))
        assert [record.text for record in reader] == found
        assert len(reader.findings) == 1
    two = write(tmp_path, "b.json", {"train": rows, "test": rows[:1]})
    with pytest.raises(WenmoError, match=r"under 'train' and under 'test'; .* records_key=train"):
        list(Reader(two))
    assert len(list(Reader(two, ReadConfig(records_key="test")))) == 1
    with pytest.raises(WenmoError, match=r"no list of records under 'x' \(found: train, test\)"):
        list(Reader(two, ReadConfig(records_key="x")))
    broken = write(tmp_path, "c.json", '{"data": [{"text": "a"}], "x"')
    with pytest.raises(WenmoError, match=r"c.json:1: not valid JSON"):
        list(Reader(broken))


def test_objects_one_after_another_are_records_whatever_they_hold(tmp_path: Path) -> None:
    row = '{"text": "a", "tags": [{"x": 1}]}\n'
    assert len(list(Reader(write(tmp_path, "a.json", row * 3)))) == 3
    row = '{"words": "a", "tags": [{"x": 1}]}\n'
    assert (
        len(list(Reader(write(tmp_path, "b.json", row * 3), ReadConfig(text_field="words")))) == 3
    )
    assert len(list(Reader(write(tmp_path, "c.json", row), ReadConfig(text_field="words")))) == 1


def test_a_dictionary(tmp_path: Path) -> None:
    entries = {f"word {n}": f"what {n} means" for n in range(12)} | {"two": ["a", "b"]}
    path = write(tmp_path, "words.json", entries)
    made, note, reader = lessons(path, "translation")
    assert made[:1] == [("word 0", "what 0 means")]
    assert made[-2:] == [("two", "a"), ("two", "b")]
    assert len(made) == 14
    assert note == "source: word; target: definition"
    assert list(reader.findings) == [f"{path}: a dictionary: word, definition"]
    few = write(tmp_path, "few.json", {"mill": "a house", "river": "water"})
    assert lessons(few, "translation", format="dictionary")[0] == [
        ("mill", "a house"),
        ("river", "water"),
    ]


@pytest.mark.parametrize("size", [1, 3, 1000])
def test_json_is_found_out_from_pieces_of_any_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    monkeypatch.setattr("wenmo.text.encodings.PIECE", size)
    rows = [{"text": f"春{n}"} for n in range(5)]
    path = write(tmp_path, "a.json", json.dumps({"a": {"b": 1, "data": rows}, "c": [3]}, indent=1))
    assert [record.text for record in Reader(path)] == [row["text"] for row in rows]
    entries = {f"w{n}": f"d{n}" for n in range(12)}
    path = write(tmp_path, "b.json", json.dumps(entries, indent=1))
    assert len(list(Reader(path, ReadConfig(text_field="definition")))) == 12

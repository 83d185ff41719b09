"""Texts in memory as data, the history of a run, and progress in notebooks."""

from __future__ import annotations

import json
import sys
import types

import pytest

import wenmo
from wenmo.text.objects import as_source
from wenmo.types import WenmoError

TEXTS = [f"春眠不觉晓，第{n}句。 The quick brown fox." for n in range(40)]


class Series:
    """The methods of a pandas Series that reading uses."""

    def __init__(self, values):
        self.values = values

    def __iter__(self):
        return iter(self.values)


class Frame:
    """The methods of a pandas DataFrame that reading uses."""

    def __init__(self, rows):
        self.rows, self.columns = rows, list(rows[0])

    def to_dict(self, how):
        assert how == "records"
        return self.rows


class Number:
    """A number with ``item``, as in numpy."""

    def item(self):
        return 3


def lines(data):
    with open(as_source(data), encoding="utf-8") as file:
        return [json.loads(line) for line in file]


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (["a", "b\nc"], [{"text": "a"}, {"text": "b\nc"}]),
        (Series(["一", float("nan"), None]), [{"text": "一"}, {"text": None}, {"text": None}]),
        (
            [("a", "b"), ["c", "d"]],
            [{"source": "a", "target": "b"}, {"source": "c", "target": "d"}],
        ),
        ([{"text": "a", "n": Number()}], [{"text": "a", "n": 3}]),
        (Frame([{"text": "a", "x": float("nan")}]), [{"text": "a", "x": None}]),
        ((text for text in ("a", "b")), [{"text": "a"}, {"text": "b"}]),
    ],
)
def test_records_in_memory_are_read_like_a_file(data, expected):
    assert lines(data) == expected


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ([], "no texts"),
        (b"text", "give a path, or a list"),
        (3, "give a path, or a list"),
        ({"text": "a"}, "give a path, or a list"),
        (["a", 3], "record 2"),
        ([("a", "b", "c")], "record 1"),
    ],
)
def test_other_types_are_refused_in_one_line(data, message):
    with pytest.raises(WenmoError, match=message) as error:
        as_source(data)
    assert "\n" not in str(error.value)


def test_a_list_trains_and_is_scored_like_a_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my.jsonl").write_text(
        "".join(json.dumps({"text": text}) + "\n" for text in TEXTS), encoding="utf-8"
    )
    from_list = wenmo.fit(TEXTS, model="ngram", order=3)
    from_file = wenmo.fit("my.jsonl", model="ngram", order=3)
    assert from_list.folder.name == "data-ngram"
    assert from_list.card.data["fingerprint"] == from_file.card.data["fingerprint"]
    assert from_list.evaluate(TEXTS) == from_file.evaluate("my.jsonl")
    assert wenmo.compare([from_list], TEXTS[:3])[0].evaluation.bits_per_byte > 0
    assert from_list.samples[-1]["text"]
    assert any("heldout_bits_per_byte" in row for row in from_list.history)
    assert "<th>bits per byte</th>" in from_list._repr_html_()


def test_progress_is_printed_in_a_notebook(tmp_path, monkeypatch, capsys):
    notebook = types.SimpleNamespace(get_ipython=lambda: object())
    monkeypatch.setitem(sys.modules, "IPython", notebook)
    wenmo.fit(TEXTS, model="ngram", order=3, out=tmp_path / "run")
    shown = capsys.readouterr().out
    assert "held out" in shown
    assert "tokens to train on" in shown

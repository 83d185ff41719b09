"""Terminal output: widths, progress lines, notes and result tables."""

from __future__ import annotations

import io
import math
import re
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from rich.cells import cell_len
from rich.console import Console

from wenmo.apps.cli import show
from wenmo.apps.cli.show import progress, terminal
from wenmo.apps.cli.show.evaluations import metric_line
from wenmo.apps.cli.show.training_result import heldout_rows
from wenmo.evaluation.results import ChosenSampling, Evaluation, Metric, PairEvaluation, Verdict
from wenmo.text.config import TaskConfig
from wenmo.training.learners import StepMetrics
from wenmo.training.loop import Event, TrainState


@pytest.mark.parametrize("width", [1, 7, 20, 80])
@pytest.mark.parametrize(
    "text",
    [
        "short",
        "The quick brown fox " * 9,
        "春眠不觉晓，处处闻啼鸟。" * 9,
        "e\u0301" * 99,
        "a\tb\n" * 60,
    ],
)
def test_truncation_counts_terminal_columns(text: str, width: int) -> None:
    line = show.truncate(text, width)
    assert cell_len(line) <= width
    assert "\n" not in line
    assert "\t" not in line
    assert line.endswith("…") or line == text


def test_a_text_that_fits_is_not_truncated() -> None:
    assert show.truncate("春眠不觉晓", 10) == "春眠不觉晓"
    assert show.truncate("春眠不觉晓", 9) == "春眠不觉…"
    assert show.truncate("one\n\n two\n", 20) == "one ⏎ two"


class Screen:
    """A minimal terminal emulator: the rows on the screen after output with a live line."""

    def __init__(self, width: int) -> None:
        self.width, self.rows, self.at = width, [""], 0

    def write(self, text: str) -> None:
        for token in re.findall(r"\x1b\[[0-9;?]*[A-Za-z]|[^\x1b]", text):
            self._process(token)

    def _process(self, token: str) -> None:
        if token == "\r":
            self.column = 0
        elif token == "\n":
            self.at, self.column = self.at + 1, 0
            self.rows += [""] * (self.at - len(self.rows) + 1)
        elif token.startswith("\x1b"):
            if token.endswith("A"):
                self.at -= int(token[2:-1] or 1)
            elif token == "\x1b[2K":
                self.rows[self.at] = ""
        else:
            if cell_len(self.rows[self.at]) + cell_len(token) > self.width:
                self._process("\n")
            self.rows[self.at] = self.rows[self.at][: self.column] + token
            self.column += 1

    column = 0


@pytest.fixture
def screen(monkeypatch: pytest.MonkeyPatch) -> Screen:
    """A terminal of 80 columns that receives notes and the live line."""
    shown = Screen(80)

    class File(io.StringIO):
        def write(self, text: str) -> int:
            shown.write(text)
            return len(text)

    console = Console(
        file=File(), force_terminal=True, width=80, highlight=False, color_system=None
    )
    for module in (terminal, progress):
        monkeypatch.setattr(module, "ERR", console)
    return shown


def step(number: int, kind: str = "step", **more: object) -> Event:
    metrics = StepMetrics(loss=1.5, tokens=9, lr_factor=0.001, extra={"nats": 1.5})
    state = replace(TrainState(), step=number, seconds=number / 10, tokens=number * 1000)
    return Event(kind, state, number / 1000, metrics=metrics, **more)  # type: ignore[arg-type]


FIGURES = {"bits_per_byte": 2.05, "perplexity": 4.1, "bleu": 10.0, "chrf": 20.0}
LONG = "春眠不觉晓，处处闻啼鸟。夜来风雨声，花落知多少。\n" * 3


def test_the_live_line_is_erased(screen: Screen) -> None:
    with show.ProgressDisplay() as watcher:
        for number in range(1, 4):
            watcher.on_event(step(number))
            watcher._live.refresh()
            watcher.on_progress(
                "scoring the held-out text with a name that is much longer " * 3, 0.5
            )
            watcher._live.refresh()
            watcher.on_event(step(number, "evaluation", figures=FIGURES))
            watcher.on_event(step(number, "sample", text=LONG))
            watcher._live.refresh()
        screen.write("^C")
        watcher.on_progress("stopped; the same command goes on from here", None)
    rows = [row for row in screen.rows if row.strip()]
    assert len([row for row in rows if "held out" in row]) == 3
    assert len([row for row in rows if "春眠" in row]) == 3
    assert not [row for row in rows if "tokens/s" in row or "scoring" in row or "^C" in row]
    assert max(map(cell_len, rows)) <= 80


def test_large_numbers_have_an_exponent() -> None:
    found = Evaluation(9.9, 900.0, math.exp(700), tokens=9, bytes=9, bound=False)
    assert "perplexity 1.01e+304" in show.likelihood_line(found)
    assert "perplexity 41.00" in show.likelihood_line(replace(found, perplexity=41.0))
    assert "infinite" in show.likelihood_line(replace(found, perplexity=math.inf))


@pytest.mark.parametrize(
    ("words", "pairs", "message"),
    [
        ((0.034, 0.043), (0.40, 0.45), "new words 3.4% (held-out text 4.3%)"),
        ((0.0, 0.009), (0.93, 0.57), "new pairs 93.0% (held-out text 57.0%)"),
        ((0.0, 0.0), (0.23, 0.25), "new pairs 23.0% (held-out text 25.0%)"),
        ((0.0, 0.0), (0.0, 0.0), "new words 0.0% (held-out text 0.0%)"),
    ],
)
def test_the_sampling_line_shows_the_largest_excess(words, pairs, message):
    written, heldout = ({"new_words": w, "new_pairs": p} for w, p in zip(words, pairs, strict=True))
    chosen = ChosenSampling(0.7, 0.95, "", written, heldout)
    assert show.sampling_line(chosen) == f"temperature 0.7, top-p 0.95: {message}"


@pytest.mark.parametrize("width", [1, 4, 12, 40])
@pytest.mark.parametrize("source", ["short", "name[Alder], food[fish] " * 20, "春眠不觉晓" * 30])
@pytest.mark.parametrize("answer", ["yes", "处处闻啼鸟" * 30])
def test_the_answer_of_a_pair_stays_visible(source: str, answer: str, width: int) -> None:
    line = show.truncate_sample(f"{source}\n→ {answer}", width)
    assert cell_len(line) <= width
    if width >= 12:
        assert line.partition(" → ")[2].startswith(answer[:1])


def test_a_sample_that_fits_is_not_truncated() -> None:
    assert show.truncate_sample("one\ntwo\n→ three", 20) == "one ⏎ two → three"
    assert show.truncate_sample("one " * 9 + "\n→ three", 20) == "one one one… → three"
    assert show.truncate_sample("no pair\n→", 20) == "no pair ⏎ →"


@pytest.mark.parametrize(
    ("groups", "chat", "message"),
    [
        ([["", " \n"]], False, "the model ended the text at once\n"),
        ([["", "a"], ["b"]], True, ""),
        (
            [["a"], [""]],
            True,
            "the model ended the text at once; it was trained for conversations: wenmo chat a/b\n",
        ),
    ],
)
def test_a_note_about_empty_texts(
    groups: list[list[str]], chat: bool, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    run: Any = SimpleNamespace(folder="a/b", task=TaskConfig())
    run.card = SimpleNamespace(has_chat_template=chat)
    show.print_empty_text_note(run, ["x"] * len(groups), groups)
    assert capsys.readouterr().err.replace("conversations:\n", "conversations: ") == message


def test_no_note_about_a_blank_source(capsys: pytest.CaptureFixture[str]) -> None:
    run: Any = SimpleNamespace(folder="a", task=TaskConfig("translation"))
    show.print_empty_text_note(run, [" "], [[""]])
    assert capsys.readouterr().err == ""


NOTE = "this run combines a network with counts: only wenmo can run it " * 3 + "春眠不觉晓，" * 9


def test_a_long_note_wraps_between_words_on_a_terminal(screen: Screen) -> None:
    show.print_note(NOTE)
    rows = [row.rstrip() for row in screen.rows if row.strip()]
    assert len(rows) > 2
    assert max(map(cell_len, rows)) <= 80
    assert [row.startswith("    ") for row in rows] == [False] + [True] * (len(rows) - 1)
    assert "".join("".join(rows).split()) == "".join(NOTE.split())
    assert {word for row in rows for word in row.split() if word.isascii()} <= set(NOTE.split())


def test_a_long_note_is_one_line_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    file = io.StringIO()
    monkeypatch.setattr(terminal, "ERR", Console(file=file, width=80, highlight=False))
    show.print_note(NOTE)
    assert file.getvalue() == f"{NOTE}\n"


@pytest.mark.parametrize(
    ("own", "line"),
    [
        (2.0, "0.200 bits per byte below plain counts (2.000, 2.200)"),
        (2.5, "worse: 0.300 bits per byte above plain counts (2.500, 2.200)"),
        (9.0, "worse than raw bytes: 9.000 bits per byte, those take 8"),
    ],
)
def test_the_verdict_compares_with_counts_and_raw_bytes(own: float, line: str) -> None:
    lines = dict(show.verdict_rows(Verdict(own, 2.2, None, None, "more text")))
    assert lines["quality"] == line


def test_the_verdict_names_counts_of_a_part_of_the_text() -> None:
    lines = dict(show.verdict_rows(Verdict(2.0, 2.2, None, None, "", counts_share=0.22)))
    assert lines["quality"] == (
        "0.200 bits per byte below counts of 22% of the text (2.000, 2.200)"
    )


def test_the_usage_command_depends_on_the_task() -> None:
    assert show.usage_command(Path("a run"), "dialogue") == "wenmo chat 'a run'"
    assert show.usage_command(Path("run"), "completion") == 'wenmo generate run --prompt "..."'


def test_a_metric_of_few_texts_has_no_interval() -> None:
    assert metric_line(Metric(31.954, None, None, 2, "")) == "31.95 (2 pairs)"


def test_metrics_of_a_few_pairs_are_not_shown() -> None:
    figures = {"bits_per_byte": 2.0, "nats_per_token": 1.0, "perplexity": 2.7}
    counts = {"tokens": 9, "bytes": 9, "bound": False, "pairs_left_out": 0, "sources_cut": 0}
    metrics = {"bleu": Metric(5.94, None, None, 4, "")}
    found = PairEvaluation(**figures, **counts, pairs=4167, metrics=metrics)  # type: ignore[arg-type]
    _, (name, line) = heldout_rows(found)
    assert name == "answers"
    assert line.startswith("4 of 4,167 held-out pairs written in time: too few to measure")
    _, row = heldout_rows(replace(found, pairs=4))
    assert row == ("BLEU", "5.94 (4 pairs)"), "these are all there are"
    assert len([*heldout_rows(Evaluation(**figures, tokens=9, bytes=9, bound=False))]) == 1

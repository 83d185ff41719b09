"""Runs on pairs: training, answers, scores, dialogue and refusals."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

MODELS = {
    "seq2seq": [
        "embedding_size=16",
        "hidden_size=48",
        "dropout=0",
        "copy=true",
        "learning_rate=0.01",
    ],
    "transformer": ["hidden_size=32", "layers=1", "encoder_layers=1", "heads=2", "dropout=0"],
    "gpt": ["hidden_size=32", "layers=1", "heads=2", "context_length=48", "learning_rate=0.02"],
    "gru": ["embedding_size=32", "hidden_size=128", "dropout=0", "learning_rate=0.01"],
}
LETTERS = "abcdefgh"
COLUMNS = ["--source-field", 1, "--text-field", 2]  # the files have no header
Wenmo = Callable[..., Any]


def lines(count: int) -> list[str]:
    """Short distinct strings; the target of each is the string in capitals."""
    return [
        "".join(LETTERS[number // 8**digit % 8] for digit in range(2 + number % 3))
        for number in range(count)
    ]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pairs")
    pairs = [f"{line}\t{line.upper()}\n" for line in lines(400)]
    (folder / "pairs.tsv").write_text("".join(pairs), encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def runs(train_until: Wenmo, folder: Path) -> dict[str, Path]:
    """One small run of each family that answers sources."""
    for model, settings in MODELS.items():
        options = ["--task", "translation", "--model", model, *COLUMNS, *settings]
        options += ["eval_count=1", "tokens_per_batch=256", "valid=0.05"]
        known = {"steps": 250, "bits_per_byte": 0.15}
        stderr = train_until("pairs.tsv", model, *options, **known, cwd=folder).stderr
        assert "% padding" in stderr
        assert "BLEU" in stderr
    return {model: folder / model for model in MODELS}


@pytest.mark.parametrize("model", MODELS)
def test_every_family_learns_to_answer(
    wenmo: Wenmo, runs: dict[str, Path], folder: Path, model: str
) -> None:
    figures = json.loads(wenmo("evaluate", runs[model], "pairs.tsv", "--json", cwd=folder).stdout)
    assert figures["metrics"]["exact"]["value"] > 90
    assert figures["metrics"]["exact"]["low"] > 80
    assert "tok:13a" in figures["metrics"]["bleu"]["signature"]
    assert figures["bits_per_byte"] < 1


@pytest.mark.parametrize("model", MODELS)
def test_generate_and_evaluate_agree_on_log_probabilities(
    wenmo: Wenmo, runs: dict[str, Path], folder: Path, model: str
) -> None:
    beam = ("--beam-width", 4, "-n", 3, "--max-tokens", 12)
    generate = ("generate", runs[model], "-p", "abcd", *beam, "--json")
    outputs = json.loads(wenmo(*generate, cwd=folder).stdout)["outputs"]
    assert len(outputs) == 3
    assert [o["score"] for o in outputs] == sorted((o["score"] for o in outputs), reverse=True)
    for output in outputs:
        assert output["stopped_by"] == "constraint"  # an answer is as long as its source
        assert output["logprob"] == pytest.approx(sum(output["logprobs"]), abs=1e-6)
        assert output["score"] == pytest.approx(output["logprob"] / output["tokens"] ** 0.6)
        (folder / "one.tsv").write_text(f"abcd\t{output['text']}\n", encoding="utf-8")
        evaluate = ("evaluate", runs[model], "one.tsv", "--json")
        figures = json.loads(wenmo(*evaluate, cwd=folder).stdout)
        nats = figures["nats_per_token"] * figures["tokens"]
        assert nats == pytest.approx(-output["logprob"], abs=1e-3)
        assert math.isfinite(figures["perplexity"])


def test_answers_are_in_the_order_of_the_lines(
    wenmo: Wenmo, runs: dict[str, Path], folder: Path
) -> None:
    (folder / "new.txt").write_text("ab\n\ncde\n", encoding="utf-8")
    generate = ("generate", runs["transformer"], "--input", "new.txt", "--method", "beam")
    assert wenmo(*generate, cwd=folder).stdout == "AB\n\nCDE\n"
    outputs = json.loads(wenmo(*generate, "--json", cwd=folder).stdout)["outputs"]
    assert [output["text"] for output in outputs] == ["AB", "", "CDE"]


def test_prefixes_and_alignments(wenmo: Wenmo, runs: dict[str, Path], folder: Path) -> None:
    generate = ("generate", runs["transformer"], "-p", "abc")
    assert wenmo(*generate, "--prefix", "H", cwd=folder).stdout.startswith("H")
    full, prefixed = folder / "full", folder / "prefixed"
    wenmo(*generate, "--alignments", full, cwd=folder)
    wenmo(*generate, "--prefix", "A", "--alignments", prefixed, cwd=folder)
    full_alignment = json.loads((full / "1.json").read_text(encoding="utf-8"))
    alignment = json.loads((prefixed / "1.json").read_text(encoding="utf-8"))
    assert full_alignment["source"] == ["a", "b", "c", "<end>"]
    assert full_alignment["target"] == ["A", "B", "C", "<end>"]
    assert alignment["target"] == full_alignment["target"][1:]
    for row, expected in zip(alignment["weights"], full_alignment["weights"][1:], strict=True):
        assert row == pytest.approx(expected, abs=1e-5)
    assert (full / "1.svg").read_text(encoding="utf-8").startswith("<svg")


def test_control_codes(wenmo: Wenmo, train_until: Wenmo, tmp_path: Path) -> None:
    verses = {"五言": "春眠不觉晓", "七言": "朝辞白帝彩云间"}
    rows = [
        {"form": form, "text": f"{text}{number}"}
        for number in range(40)
        for form, text in verses.items()
    ]
    content = "".join(f"{json.dumps(row, ensure_ascii=False)}\n" for row in rows)
    (tmp_path / "verses.jsonl").write_text(content, encoding="utf-8")
    fields = ["--text-field", "text", "--control", "form", "eval_count=1", "tokens_per_batch=512"]
    small = ["--model", "gru", "embedding_size=16", "hidden_size=48", "learning_rate=0.01"]
    known = {"steps": 150, "bits_per_byte": 0.6}
    train_until("verses.jsonl", "run", *fields, *small, **known, cwd=tmp_path)
    for form, text in verses.items():
        generate = ("generate", "run", "--control", f"form={form}", "--method", "greedy")
        assert wenmo(*generate, cwd=tmp_path).stdout.startswith(text)
    refused = wenmo("generate", "run", "--control", "form=词", cwd=tmp_path, code=2).stderr
    assert "no form=词 in the training text" in refused
    assert "values: " in refused
    stderr = wenmo("generate", "run", "--method", "greedy", cwd=tmp_path).stderr
    assert "form is not given: form=" in stderr


def test_dialogue(wenmo: Wenmo, train_until: Wenmo, runs: dict[str, Path], tmp_path: Path) -> None:
    conversations = [{"turns": ["你好吗？", "我很好。", "再见！", "再见。"]} for _ in range(40)]
    content = "".join(
        f"{json.dumps(conversation, ensure_ascii=False)}\n" for conversation in conversations
    )
    (tmp_path / "conversations.jsonl").write_text(content, encoding="utf-8")
    options = ["--task", "dialogue", "--model", "seq2seq", "tokens_per_batch=1024", "eval_count=1"]
    small = ["embedding_size=16", "hidden_size=48", "learning_rate=0.01"]
    known = {"steps": 120, "bits_per_byte": 0.1}
    train_until("conversations.jsonl", "talk", *options, *small, **known, cwd=tmp_path)
    stdout = wenmo(
        "chat", "talk", "--method", "greedy", given="你好吗？\n再见！\n", cwd=tmp_path
    ).stdout
    assert "我很好。" in stdout
    assert stdout.rstrip("> \n").endswith("再见。")
    refused = wenmo("chat", runs["gru"], given="", cwd=tmp_path, code=2)
    assert "--task dialogue" in refused.stderr


def test_a_note_about_a_truncated_source(wenmo: Wenmo, runs: dict[str, Path], folder: Path) -> None:
    generate = ("generate", runs["gpt"], "-p", "abc " * 40)
    assert "only its beginning is read" in wenmo(*generate, cwd=folder).stderr
    assert json.loads(wenmo(*generate, "--json", cwd=folder).stdout)["outputs"][0]["truncated"]
    assert wenmo("generate", runs["seq2seq"], *generate[2:], cwd=folder).stderr == ""


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (["train", "pairs.tsv", "--task", "translation", "--model", "ngram"], "cannot answer"),
        (["train", "three.csv", "--task", "translation"], "two of: id, one, two"),
        (["train", "two.csv", "--task", "translation", "--source-field", "de"], "two of: en, fr"),
        (["train", "a.txt", "--target", "b.txt", "--task", "translation"], "3"),
        (["train", "a.txt", "--task", "translation"], "--target FILE"),
        (["train", "empty.tsv", "--task", "translation"], "empty.tsv"),
        (["train", "pairs.tsv", "--task", "translate"], "did you mean 'translation'"),
        (["train", "pairs.tsv", "--control", "form"], "--text-field"),
        (["generate", "transformer", "-p", ""], "give a prompt"),
        (["generate", "transformer", "-p", "a", "-n", 9], "9"),
        (["generate", "gru", "-p", "a", "--alignments", "seen"], "has no alignment"),
        (["generate", "gru", "-p", "a", "--coverage-penalty", 1], "coverage_penalty"),
    ],
    ids=lambda value: None if isinstance(value, str) else " ".join(map(str, value[1:])),
)
def test_invalid_commands(
    wenmo: Wenmo, runs: dict[str, Path], folder: Path, command: list[Any], message: str
) -> None:
    contents = {
        "three.csv": "id,one,two\n1,a,b\n",
        "two.csv": "en,fr\na,b\n",
        "a.txt": "a\nb\nc\n",
        "b.txt": "A\nB\n",
        "empty.tsv": "a\t\n\tB\n" * 9,
    }
    for name, content in contents.items():
        (folder / name).write_text(content, encoding="utf-8")
    done = wenmo(*command, cwd=folder, code=2)
    assert message in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert done.stdout == ""


def test_columns_with_mixed_languages(wenmo: Wenmo, tmp_path: Path) -> None:
    pairs = [("Hello 世界", "你好 world"), ("🙂 مرحبا", "привет 龘")] * 30
    content = "".join(f"{source} {n}\t{target}\n" for n, (source, target) in enumerate(pairs))
    (tmp_path / "mixed.tsv").write_text(content, encoding="utf-8")
    command = ["train", "mixed.tsv", "--task", "paraphrase", "--model", "seq2seq:tiny"]
    wenmo(*command, "--out", "run", "--steps", 3, "eval_count=1", cwd=tmp_path)
    assert wenmo("generate", "run", "-p", "世界 🙂", "--max-tokens", 5, cwd=tmp_path).stdout

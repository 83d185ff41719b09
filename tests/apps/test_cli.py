"""The main commands: train, generate, evaluate, models."""

from __future__ import annotations

import gzip
import json
import os
import re
import shlex
import subprocess
import sys

import pytest

MODELS = ("ngram", "lstm", "gpt")


@pytest.mark.parametrize("model", MODELS)
def test_the_files_of_a_run_folder(runs, model):
    folder = runs[model]
    card = json.loads((folder / "wenmo.json").read_text(encoding="utf-8"))
    assert card["family"] == model
    assert card["finished"]
    assert card["data"]["fingerprint"]
    assert 0 < card["results"]["heldout"]["bits_per_byte"] < 8
    names = {path.name for path in folder.iterdir()}
    assert {"model.safetensors", "tokenizer.json", "metrics.jsonl", "samples.md"} <= names
    assert list((folder / "tensorboard").glob("events*"))
    lines = (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    assert any("heldout_bits_per_byte" in json.loads(line) for line in lines)


@pytest.mark.parametrize("model", MODELS)
def test_generate_prints_the_same_text_in_every_format(wenmo, runs, model):
    folder = runs[model]
    command = ("generate", folder, "--prompt", "春眠", "--max-tokens", 20, "--seed", 3)
    plain = wenmo(*command, cwd=folder).stdout
    outputs = json.loads(wenmo(*command, "--json", cwd=folder).stdout)["outputs"]
    assert plain == "春眠" + outputs[0]["text"] + "\n"
    assert outputs[0].keys() >= {"text", "tokens", "logprob", "stopped_by"}
    assert outputs[0]["logprob"] < 0
    several = wenmo(*command, "-n", 3, "--json", cwd=folder).stdout
    together = json.loads(several)["outputs"]
    assert len(together) == 3
    assert together[0]["text"] == outputs[0]["text"]
    assert together[0]["logprob"] == pytest.approx(outputs[0]["logprob"], rel=1e-4)


@pytest.mark.parametrize("model", MODELS)
def test_a_trained_model_predicts_its_training_text(wenmo, runs, text, model):
    figures = json.loads(wenmo("evaluate", runs[model], text, "--json", cwd=text.parent).stdout)
    assert figures["bits_per_byte"] < 1
    assert figures["bytes"] == len(text.read_bytes()) + 1
    greedy = ("--method", "greedy", "--max-tokens", 12, "--prompt", "The quick brown ")
    assert "fox jumps" in wenmo("generate", runs[model], *greedy, cwd=text.parent).stdout


def test_a_note_about_a_truncated_prompt(wenmo, runs, tmp_path):
    command = ("generate", runs["gpt"], "--prompt", "The quick brown fox " * 9, "--max-tokens", 4)
    command += ("--seed", 0)
    assert "only its end is read" in wenmo(*command, cwd=tmp_path).stderr
    assert json.loads(wenmo(*command, "--json", cwd=tmp_path).stdout)["outputs"][0]["truncated"]
    assert wenmo("generate", runs["lstm"], *command[2:], cwd=tmp_path).stderr == ""


def test_an_empty_prompt_starts_a_line_for_long_documents(runs):
    import wenmo

    run = wenmo.load(runs["lstm"])
    options = {"max_tokens": 30, "seed": 5}
    assert run.generate("", **options) != run.generate("\n", **options)
    run.card.data["train"] |= {"records": 3, "characters": 40_000}
    assert run.generate("", **options) == run.generate("\n", **options)
    assert "".join(run.stream(**options)) == run.generate("\n", **options)[0]


def test_generate_answers_every_line_of_a_file(wenmo, runs, tmp_path):
    (tmp_path / "prompts.txt").write_text("春眠\nThe quick\n", encoding="utf-16")
    command = ("generate", runs["lstm"], "--input", "prompts.txt", "-n", 2, "--max-tokens", 5)
    outputs = json.loads(wenmo(*command, "--json", cwd=tmp_path).stdout)["outputs"]
    assert len(outputs) == 4
    printed = wenmo(*command, cwd=tmp_path).stdout
    assert printed.count("春眠") >= 2
    assert "[4]" in printed


def test_stop_and_bias_and_penalties_reach_the_engine(wenmo, runs, tmp_path):
    common = ("generate", runs["ngram"], "--prompt", "The quick", "--method", "greedy", "--json")
    stopped = json.loads(wenmo(*common, "--stop", "over", cwd=tmp_path).stdout)["outputs"][0]
    assert stopped["stopped_by"] == "stop"
    assert stopped["text"] == " brown fox jumps "
    without = wenmo(*common, "--logit-bias", "o=-inf", "--max-tokens", 40, cwd=tmp_path).stdout
    assert "o" not in json.loads(without)["outputs"][0]["text"]


def test_models_lists_every_family(wenmo, tmp_path):
    listed = json.loads(wenmo("models", "--json", cwd=tmp_path).stdout)["models"]
    assert {"ngram", "rnn", "lstm", "gru", "gpt"} <= {entry["name"] for entry in listed}
    assert "hidden_size" in wenmo("models", "gpt", cwd=tmp_path).stdout


def test_standard_input_and_gzip_train_like_the_file(wenmo, text, tmp_path):
    packed = tmp_path / "packed.txt.gz"
    packed.write_bytes(gzip.compress(text.read_bytes()))
    rest = ("--model", "ngram", "--json")
    results = [
        json.loads(wenmo("train", source, "--out", name, *rest, cwd=tmp_path, given=given).stdout)
        for name, source, given in (
            ("a", text, ""),
            ("b", packed, ""),
            ("c", "-", text.read_text(encoding="utf-8")),
        )
    ]
    figures = [result["heldout"]["bits_per_byte"] for result in results]
    assert figures[0] == figures[1] == figures[2]


def test_fields_are_selected_by_name_and_missing_values_counted(wenmo, tmp_path):
    rows = [{"title": "春晓", "lines": ["春眠不觉晓处处闻啼鸟", "夜来风雨声花落知多少"]}] * 40 + [
        {"title": "无"}
    ]
    text = "\n".join(json.dumps(row, ensure_ascii=False) for row in rows)
    (tmp_path / "poems.jsonl").write_text(text, encoding="utf-8")
    train = ("train", "poems.jsonl", "--model", "ngram", "--out", "run")
    refused = wenmo(*train, cwd=tmp_path, code=2).stderr
    assert "--text-field" in refused
    assert "lines" in refused
    stderr = wenmo(*train, "--text-field", "lines", cwd=tmp_path).stderr
    assert re.search(r"1 .*(missing|left out)", stderr)
    assert "also occur in the training text" in stderr


def test_a_second_call_does_not_train_again(wenmo, text, tmp_path):
    train = ("train", text, "--model", "ngram", "--out", "run", "order=3")
    wenmo(*train, cwd=tmp_path)
    assert "trained already" in wenmo(*train, cwd=tmp_path).stderr


def test_python_interface(runs, text, tmp_path):
    import wenmo

    run = wenmo.load(runs["lstm"])
    assert len(run.generate("春", n=3, max_tokens=5)) == 3
    assert (
        "".join(run.stream("春", max_tokens=5, seed=1))
        == run.generate("春", max_tokens=5, seed=1)[0]
    )
    fitted = wenmo.fit(text, model="ngram", out=tmp_path / "run", order=3)
    assert fitted.evaluate(text).bits_per_byte < 1
    ranked = wenmo.compare(list(runs.values()), text)
    assert [row.evaluation.bits_per_byte for row in ranked] == sorted(
        row.evaluation.bits_per_byte for row in ranked
    )


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("models | head -1", b"model "),
        ("generate RUN --seed 0 --prompt \xe6\x98\xa5", "春".encode()),
    ],
)
def test_any_locale_and_a_closed_pipe(runs, command, expected):
    environment = {**os.environ, "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    command = command.replace("RUN", shlex.quote(str(runs["ngram"])))
    program = f"{shlex.quote(sys.executable)} -m wenmo "
    line = (program + command).encode("latin-1")
    done = subprocess.run(line, shell=True, env=environment, capture_output=True, check=False)
    assert done.returncode == 0
    assert done.stderr == b""
    assert done.stdout.startswith(expected)


def test_a_full_disk_is_one_line(runs):
    with open("/dev/full", "wb") as full:
        command = [sys.executable, "-m", "wenmo", "generate", str(runs["ngram"])]
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, check=False)
    assert done.returncode == 2
    assert done.stderr == b"wenmo: output: No space left on device\n"

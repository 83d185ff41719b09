"""Wrong input of any type: one line, exit code 2, no partial output."""

from __future__ import annotations

import json
import shutil

import pytest


def refused(done):
    """The only line that a refused command prints."""
    lines = [line for line in done.stderr.splitlines() if line.strip()]
    assert len(lines) == 1, done.stderr
    assert lines[0].startswith("wenmo: ")
    assert done.stdout == ""
    return lines[0]


FILES = {
    "empty.txt": b"",
    "blank.txt": b" \n\n\t \n",
    "image.png": b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 8,
    "noise.txt": bytes(range(256)) * 40,
    "broken.jsonl": b'{"text": "good"}\n{"text": \n',
    "rows.csv": b"text,label\nhello,1\nworld\n",
    "broken.txt": "语言模型\n".encode() * 50 + b"\xff\xfe\x80" + "语言\n".encode() * 50,
    "short.txt": b"abc",
    "half.txt.gz": b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03abc",
    "bad.parquet": b"PAR1 no parquet PAR1",
}
MESSAGES = {
    "empty.txt": "empty",
    "blank.txt": "holds no text",
    "image.png": "PNG",
    "noise.txt": "noise.txt",
    "broken.jsonl": "broken.jsonl:2",
    "rows.csv": "rows.csv:3",
    "broken.txt": "broken.txt:51",
    "short.txt": "more text",
    "half.txt.gz": "half.txt.gz",
    "bad.parquet": "bad.parquet",
}


@pytest.mark.parametrize("name", FILES)
def test_unreadable_training_files(wenmo, tmp_path, name):
    (tmp_path / name).write_bytes(FILES[name])
    done = wenmo("train", name, "--model", "ngram", "--out", "run", cwd=tmp_path, code=2)
    assert MESSAGES[name] in refused(done)
    assert [path.name for path in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train", "none.txt"], "none.txt: no such file"),
        (["train", "TEXT", "--model", "lsmt"], "did you mean 'lstm'"),
        (["train", "TEXT", "--model", "gpt:smal"], "did you mean 'small'"),
        (["train", "TEXT", "--model", "ngram", "--prior", "ngram"], "cannot stand on counts"),
        (["train", "TEXT", "--prior", "counts"], "--prior counts: choose one of ngram"),
        (["train", "TEXT", "init.base=runs/a"], "say it as --from runs/a"),
        (["train", "TEXT", "--prior", "ngram", "ngram_prior.order=1"], "order must be at least 2"),
        (["train", "TEXT", "hiden=3"], "did you mean 'hidden_size'"),
        (["train", "TEXT", "hidden"], "has no '='"),
        (["train", "TEXT", "hidden_size=wide"], "expected a whole number"),
        (["train", "TEXT", "seed=1"], "split.seed or train.seed"),
        (["train", "TEXT", "optimizer=adan"], "did you mean 'adam'"),
        (["train", "TEXT", "--tokenizer", "char"], "did you mean 'chars'"),
        (["train", "TEXT", "--minutes", "-1"], "'--minutes': must be a positive number"),
        (["train", "TEXT", "--minutes", "0"], "'--minutes': must be a positive number"),
        (["train", "TEXT", "--steps", "0"], "'--steps'"),
        (["train", "TEXT", "--model", "ngram", "dropout=0.1"], "ngram has no setting 'dropout'"),
        (["train", "TEXT", "--model", "rnn", "heads=2"], "it belongs to gpt"),
        (["generate", "nowhere", "--temperature", "-1"], "'--temperature'"),
        (["train", "TEXT", "--minutes", "1", "--steps", "3"], "not both"),
        (["train", "TEXT", "--model", "gpt", "heads=7"], "not a multiple of heads 7"),
        (["train", "TEXT", "--out", "TEXT"], "is a file: choose another --out"),
        (["train", "TEXT", "--out", "."], "not a run folder"),
        (["train", "TEXT", "--source-field", "x"], "source"),
        (["generate", "nowhere"], "no such run folder"),
        (["generate", "."], "not a run folder"),
        (["evaluate", "nowhere", "TEXT"], "no such run folder"),
        (["models", "lstn"], "did you mean 'lstm'"),
        (["trian"], "'train'"),
    ],
)
def test_invalid_arguments(wenmo, text, tmp_path, arguments, message):
    command = [str(text) if a == "TEXT" else a for a in arguments]
    (tmp_path / "something").write_text("content")
    assert message in refused(wenmo(*command, cwd=tmp_path, code=2))
    assert [path.name for path in tmp_path.iterdir()] == ["something"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--temperature", "-1"], "'--temperature': must be at least 0"),
        (["--top-p", "2"], "'--top-p': must be above 0 and at most 1"),
        (["--method", "bem"], "method"),
        (["--max-tokens", "0"], "'--max-tokens': must be at least 1"),
        (["-n", "0"], "n"),
        (["--logit-bias", "x"], "TEXT=AMOUNT"),
        (["--logit-bias", "fox=1"], "not one token"),
        (["--input", "none.txt"], "none.txt"),
    ],
)
def test_invalid_sampling_options(wenmo, runs, tmp_path, options, message):
    assert message in refused(wenmo("generate", runs["lstm"], *options, cwd=tmp_path, code=2))


@pytest.fixture
def run(runs, tmp_path):
    shutil.copytree(runs["lstm"], tmp_path / "run")
    return tmp_path / "run"


def damage_weights(run):
    path = run / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])


def damage_card(run):
    (run / "wenmo.json").write_text("{")


def newer_format(run):
    card = json.loads((run / "wenmo.json").read_text(encoding="utf-8"))
    (run / "wenmo.json").write_text(json.dumps({**card, "format": 99, "wenmo": "9.0"}))


def other_weights(run):
    card = json.loads((run / "wenmo.json").read_text(encoding="utf-8"))
    card["model"]["hidden_size"] = 48
    (run / "wenmo.json").write_text(json.dumps(card))


def no_weights(run):
    (run / "model.safetensors").unlink()


def no_tokenizer(run):
    (run / "tokenizer.json").unlink()


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (damage_weights, "damaged"),
        (damage_card, "damaged"),
        (newer_format, "newer wenmo (9.0)"),
        (other_weights, "does not fit"),
        (no_weights, "no weights yet"),
        (no_tokenizer, "tokenizer.json"),
    ],
)
def test_damaged_run_folders(wenmo, run, damage, message):
    damage(run)
    assert message in refused(wenmo("generate", run, cwd=run.parent, code=2))


def test_different_settings_for_an_existing_run(wenmo, run, text):
    done = wenmo("train", text, "--out", run, "--steps", 7, cwd=run.parent, code=2)
    assert "holds a run with other settings" in refused(done)


def test_a_checkpoint_with_a_wrong_checksum_falls_back_to_the_previous_one(wenmo, text, tmp_path):
    train = ["train", text, "--out", "run", "--model", "lstm", "--steps", 40]
    train += [
        "embedding_size=8",
        "hidden_size=8",
        "layers=1",
        "batch_size=4",
        "checkpoint_seconds=0",
    ]
    wenmo(*train, cwd=tmp_path)
    card = json.loads((tmp_path / "run/wenmo.json").read_text(encoding="utf-8"))
    (tmp_path / "run/wenmo.json").write_text(json.dumps({**card, "finished": False}))
    newest = max((tmp_path / "run/checkpoints").glob("*.safetensors"))
    newest.write_bytes(newest.read_bytes()[:-1] + b"?")
    stderr = wenmo(*train, cwd=tmp_path).stderr
    assert "wrong checksum" in stderr
    assert "going on from step 39" in stderr

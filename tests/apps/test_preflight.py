"""Errors that can be found without PyTorch are reported before it is imported."""

from __future__ import annotations

import contextlib
import io
import json
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

REFUSED = {
    "train missing.txt": "missing.txt: no such file or folder",
    "train my.tx": "did you mean 'my.txt'",
    "train my.txt --target none.txt": "none.txt: no such file",
    "train my.txt --recipe none.toml": "none.toml: no such file",
    "train my.txt --model lsmt": "did you mean 'lstm'",
    "train my.txt --model GTP": "did you mean 'gpt'",
    "train my.txt --model gpt:smal": "did you mean 'small'",
    "train my.txt --task translat": "did you mean 'translation'",
    "train my.txt --tokenizer char": "did you mean 'chars'",
    "train my.txt --unit lin": "did you mean 'line'",
    "train my.txt optimizer=adan": "did you mean 'adam'",
    "train my.txt hiden=3": "did you mean 'hidden_size'",
    "train my.txt batch_size=0": "batch_size must be at least 1",
    "train my.txt --steps 3 --minutes 1": "give steps or minutes, not both",
    "train my.txt hidden_size=0": "hidden_size must be at least 1",
    "train my.txt --model gpt heads=7": "hidden_size 256 is not a multiple of heads 7",
    "train my.txt --model lstm heads=2": "lstm has no setting 'heads'",
    "train my.txt --recipe wide.toml": "model.hidden_size=wide: expected a whole number",
    "train my.txt hidden_size=wide": "hidden_size=wide: expected a whole number",
    "train my.txt --from nosuchrun": "nosuchrun: no such run folder",
    "train my.txt --out my.txt": "my.txt: is a file",
    "generate nosuchrun": "nosuchrun: no such run folder",
    "generate poem": "did you mean 'runs/poems'",
    "generate smolm2": "did you mean 'smollm2'",
    "generate runs/poems --method bem": "did you mean 'beam'",
    "generate runs/poems --top-p 2": "must be above 0 and at most 1",
    "generate runs/poems --method beam --mbr chrf": "mbr=chrf: must be used with method=sample",
    "generate runs/poems --method beam-sample --temperature 0": "temperature=0.0: must be above 0",
    "generate runs/poems --beam-width 6 --beam-groups 4": "divide the beam_width of 6",
    "generate runs/poems --input none.txt": "none.txt: no such file",
    "generate none.toml": "none.toml: no such file",
    "chat nosuchrun": "no such run folder",
    "evaluate runs/poems none.txt": "none.txt: no such file",
    "evaluate runs/poems my.txt encodng=utf-8": "did you mean 'read.encoding'",
    "explain nosuchrun text": "no such run folder",
    "latent nosuchrun --reconstruct text": "no such run folder",
    "latent runs/poems --reconstruct text --method bem": "did you mean 'beam'",
    "tradeoff my.txt nosuchrun": "no such run folder",
    "compare nosuchrun --data my.txt": "no such run folder",
    "compare runs/poems --data none.txt": "none.txt: no such file",
    "export runs/poems --to hugingface --out x": "did you mean 'huggingface'",
    "models lstn": "did you mean 'lstm'",
    "runs nowhere": "nowhere: no such folder",
    "show nosuchrun": "no such run folder",
    "rm my.txt": "my.txt: a file, not a run folder: train on it first",
    "generate my.txt": "my.txt: a file, not a run folder: train on it first",
    "evaluate my.txt my.txt": "my.txt: a file, not a run folder",
    "rm runs": "not a run folder",
    "trian my.txt": "'train'",
    "EXPROT": "'export'",
    "gen my.txt": "did you mean 'generate'",
    "eval my.txt my.txt": "did you mean 'evaluate'",
    "expl my.txt": "did you mean 'explain'",
    "train my.txt --modle lstm": "--model",
}
ACCEPTED = ["runs", "runs --json", "show runs/poems", "show runs/poems --json", "rm runs/poems"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A text, and the card of a run."""
    (tmp_path / "my.txt").write_text("some text\n", encoding="utf-8")
    (tmp_path / "wide.toml").write_text("[model]\nhidden_size = 'wide'\n", encoding="utf-8")
    run = tmp_path / "runs" / "poems"
    run.mkdir(parents=True)
    card = {"format": 1, "family": "lstm", "data": {}, "finished": True, "results": {}}
    (run / "wenmo.json").write_text(json.dumps(card), encoding="utf-8")
    return tmp_path


def main() -> None:
    """Run each command line of standard input; print its result and whether PyTorch is loaded.

    The test runs this in a separate process.
    """
    from wenmo.apps.cli import main as program

    for command in json.load(sys.stdin):
        sys.argv = ["wenmo", *shlex.split(command)]
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = program.run()
        print(json.dumps([command, code, err.getvalue(), "torch" in sys.modules]))


def test_refusals_and_lists_do_not_import_pytorch(folder: Path) -> None:
    commands = [*REFUSED, *ACCEPTED]
    done = subprocess.run(
        [sys.executable, __file__],
        input=json.dumps(commands),
        capture_output=True,
        encoding="utf-8",
        cwd=folder,
        check=True,
    )
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert [line[0] for line in lines] == commands
    for command, code, stderr, loaded in lines:
        assert not loaded, command
        if command in REFUSED:
            assert code == 2, command
            assert len(stderr.splitlines()) == 1, stderr
            assert REFUSED[command] in stderr, f"{command}: {stderr}"
        else:
            assert code == 0, f"{command}: {stderr}"


if __name__ == "__main__":
    main()

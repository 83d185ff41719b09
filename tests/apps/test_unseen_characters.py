"""Generated texts have only characters of the training text and of the prompt."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from wenmo.api import Run, fit, load
from wenmo.types import END, Batch

LINES = """Pepper climbs the ridge before the rain.
The ridge keeps its snow until May.
彼岸有舟，舟上有灯。
Ἑ and œ are rare, 谸 and 袔 rarer.
""".splitlines()
WILD = {"temperature": 1.5, "max_tokens": 60, "seed": 1}
TOKENIZERS = ["bytes", "characters", "words", "bpe", "unigram"]


@pytest.fixture(scope="module")
def lines(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A text with rare characters."""
    path = tmp_path_factory.mktemp("lines") / "lines.txt"
    path.write_text("".join(f"{line}\n" for line in LINES * 3), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def counted(lines: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Run]:
    """Trains an n-gram model of the lines with a given tokenizer."""
    made: dict[str, Run] = {}

    def make(tokenizer: str) -> Run:
        if tokenizer not in made:
            out = tmp_path_factory.mktemp("runs") / tokenizer
            settings = {"tokenizer.kind": tokenizer, "tokenizer.min_count": 4, "order": 3}
            made[tokenizer] = fit(lines, valid=lines, model="ngram", out=out, settings=settings)
        return made[tokenizer]

    return make


@pytest.mark.parametrize("method", ["sample", "beam"])
@pytest.mark.parametrize("tokenizer", TOKENIZERS)
def test_no_unseen_characters_by_default(
    counted: Callable[[str], Run], lines: Path, tokenizer: str, method: str
) -> None:
    run = counted(tokenizer)
    sampled = {"n": 20, **WILD}
    best = {"n": 5, "min_tokens": 40, "max_tokens": 60}
    texts = run.generate("", method=method, **(sampled if method == "sample" else best))
    assert "�" not in "".join(texts)
    assert set("".join(texts)) <= set(lines.read_text(encoding="utf-8"))


@pytest.mark.parametrize("tokenizer", ["bytes", "characters"])
def test_unseen_characters_can_be_allowed(
    counted: Callable[[str], Run], lines: Path, tokenizer: str
) -> None:
    written = "".join(counted(tokenizer).generate("", 20, unseen_characters=True, **WILD))
    assert set(written) - set(lines.read_text(encoding="utf-8"))


def test_characters_of_the_prompt_are_allowed(counted: Callable[[str], Run]) -> None:
    run = counted("bytes")
    bias = tuple((1 + byte, 1e4) for byte in "鼾".encode())
    options = {"logit_bias": bias, "max_tokens": 3, "seed": 1}
    assert run.generate("鼾", **options) == ["鼾"]
    assert run.texts(["鼾", "The ridge"], **options)[1] != ["鼾"]


def test_probabilities_are_those_of_the_model(counted: Callable[[str], Run]) -> None:
    run = counted("bytes")
    [[output]] = run.write([""], seed=3, max_tokens=50)
    stream = torch.tensor([[END, *output.ids]])
    scored = run.model.score(Batch(stream[:, :-1], stream[:, 1:]))
    assert math.isclose(output.logprob, -float(scored.nats), rel_tol=1e-4)


def test_the_card_has_the_alphabet(
    counted: Callable[[str], Run], lines: Path, wenmo: Callable[..., Any], tmp_path: Path
) -> None:
    run = counted("bytes")
    card = json.loads((run.folder / "wenmo.json").read_text(encoding="utf-8"))
    assert card["data"]["alphabet"] == "".join(sorted(set("".join(LINES)) | {"\n"}))
    given = ["-p", "鼾", "--unseen-characters", "--max-tokens", 5, "--json"]
    assert json.loads(wenmo("generate", run.folder, *given, cwd=tmp_path).stdout)["outputs"]


def test_a_run_without_alphabet_is_not_constrained(
    counted: Callable[[str], Run], tmp_path: Path
) -> None:
    run = counted("bytes")
    del (card := json.loads((run.folder / "wenmo.json").read_text()))["data"]["alphabet"]
    for file in run.folder.iterdir():
        if file.is_file():
            (tmp_path / file.name).write_bytes(file.read_bytes())
    (tmp_path / "wenmo.json").write_text(json.dumps(card))
    assert load(tmp_path).generate("", 20, **WILD) == run.generate(
        "", 20, unseen_characters=True, **WILD
    )


def test_a_fine_tuned_run_has_the_characters_of_both_texts(tmp_path: Path) -> None:
    first, second = tmp_path / "first.txt", tmp_path / "second.txt"
    first.write_text("alpha beta\n" * 30)
    second.write_text("春眠不觉晓\n" * 30, encoding="utf-8")
    small = {
        "hidden_size": 8,
        "layers": 1,
        "heads": 1,
        "context_length": 16,
        "batch_size": 2,
        "ngram_prior.enabled": False,
    }
    base = fit(first, model="gpt", out=tmp_path / "base", steps=1, settings=small)
    run = fit(second, base=base.folder, out=tmp_path / "run", steps=1, settings={"batch_size": 2})
    assert run.card.alphabet == "".join(sorted(set("alpha beta\n春眠不觉晓\n")))


def test_the_alphabet_of_pairs_is_that_of_the_targets(tmp_path: Path) -> None:
    pairs = tmp_path / "pairs.tsv"
    rows = [f"the dog {n}\t狗{n}" for n in range(30)]
    pairs.write_text("source\ttarget\n" + "\n".join(rows) + "\n", encoding="utf-8")
    run = fit(pairs, model="gru:tiny", task="translation", out=tmp_path / "run", steps=1)
    assert set(run.card.alphabet or "") <= set("狗0123456789")
    written = run.texts(["the 猫"], 20, temperature=5.0, max_tokens=20)[0]
    assert set("".join(written)) <= set("狗0123456789the 猫")

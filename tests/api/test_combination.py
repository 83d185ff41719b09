"""Runs that steer another run: on the command line and in Python, and what is refused."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from wenmo.api import fit, load
from wenmo.api.combination import matching_ids
from wenmo.decoding.combination.classifier import load_classifier
from wenmo.decoding.combination.settings import CombinationSettings, split_combination
from wenmo.types import WenmoError

GOOD = [f"good day, my friend {n % 9}, how are you" for n in range(40)]
BAD = [f"bad night, you enemy {n % 9}, go away" for n in range(40)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A base, an expert and an anti-expert over its vocabulary, and a run with another one."""
    root = tmp_path_factory.mktemp("combination")
    base = fit([*GOOD, *BAD], model="ngram", out=root / "base", order=3).folder
    shared = {"tokenizer.run": str(base)}
    fit(GOOD, model="ngram", out=root / "good", settings=shared)
    fit(BAD, model="ngram", out=root / "bad", settings=shared)
    shutil.copytree(root / "good", root / "other")
    vocabulary = (root / "other" / "tokenizer.json").read_text("utf-8")
    (root / "other" / "tokenizer.json").write_text(vocabulary.replace('"d"', '"！"'), "utf-8")
    return root


def entry(folder: Path, name: str, weight: float) -> str:
    return f"{folder / name}={weight:g}"


def test_experts_and_anti_experts_write_what_they_were_trained_on(folder: Path) -> None:
    run = load(folder / "base")
    steered = {"expert": entry(folder, "good", 2), "anti": entry(folder, "bad", 2)}
    toward = run.texts([""], 20, seed=1, max_tokens=30, **steered)[0]
    turned = {"expert": steered["anti"], "anti": steered["expert"]}
    away = run.texts([""], 20, seed=1, max_tokens=30, **turned)[0]
    assert sum("good" in text for text in toward) >= 18
    assert sum("bad" in text for text in away) >= 18


def test_a_weight_of_zero_changes_nothing(folder: Path) -> None:
    run = load(folder / "base")
    free = run.write(["good"], 5, seed=2, max_tokens=30)
    for options in (
        {"expert": {folder / "good": 0}, "anti": {folder / "bad": 0}, "base_top_p": 0.5},
        {"expert": [], "anti": []},
    ):
        assert run.write(["good"], 5, seed=2, max_tokens=30, **options) == free


def test_texts_are_scored_under_the_run_itself(folder: Path) -> None:
    run = load(folder / "base")
    options: dict[str, Any] = {"expert": entry(folder, "good", 1.5), "base_top_p": 0.95}
    for method in ("sample", "beam"):
        [[output]] = run.write(["go"], seed=3, max_tokens=25, method=method, **options)
        assert output.combined_logprob is not None
        assert output.logprob == pytest.approx(sum(output.logprobs))
        ids = [0, *run.tokenizer.encode("go").tolist(), *output.ids]
        logp = run.model(torch.tensor([ids[:-1]]))[0].log_softmax(-1)[0]
        wanted = [float(logp[n, ids[n + 1]]) for n in range(len(ids) - 1)][-len(output.ids) :]
        assert list(output.logprobs) == pytest.approx(wanted, abs=1e-4)
        assert output.combined_logprob != pytest.approx(output.logprob)


def test_tokens_in_another_order_are_matched() -> None:
    """Also where a byte and a character are spelled alike."""
    own = [b"", b"a", b"b", b"a", "春".encode()]
    order = matching_ids(own, [b"", b"b", b"a", "春".encode(), b"a"])
    assert order is not None
    assert order.tolist() == [0, 2, 1, 4, 3]
    assert matching_ids(own, [b"", b"b", b"a", "夏".encode(), b"a"]) is None
    assert matching_ids(own, [b"a", b"", b"b", b"a", "春".encode()]) is None  # END is 0


def test_a_stream_is_the_first_text(folder: Path) -> None:
    run, options = load(folder / "base"), {"anti": entry(folder, "bad", 0.7), "seed": 4}
    assert "".join(run.stream("go", **options)) == run.texts(["go"], **options)[0][0]


def test_the_command_prints_what_was_combined(folder: Path, wenmo: Callable[..., Any]) -> None:
    steer = ("--expert", "good=1", "--anti", "bad=1")
    done = wenmo("generate", "base", *steer, "--seed", 1, "--json", cwd=folder)
    printed = json.loads(done.stdout)
    told = printed["combination"]
    assert told["description"] == "product: the run +1 × good -1 × bad, among its own top-p 0.9"
    assert told["experts"] == [{"path": "good", "weight": 1}, {"path": "bad", "weight": -1}]
    assert printed["outputs"][0]["combined_logprob"] < 0
    plain = wenmo("generate", "base", "--expert", "good=0", "--seed", 1, "--json", cwd=folder)
    assert "combination" not in json.loads(plain.stdout)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--expert", "good"], "expert='good': write RUN=ALPHA, as in runs/formal=1.5"),
        (["--anti", "bad=-1"], "anti='bad=-1': write RUN=ALPHA, a weight from 0 to 1000"),
        (["--anti", "bad=nan"], "anti='bad=nan': write RUN=ALPHA, a weight from 0 to 1000"),
        (["--expert", "missing=1"], "missing: no such run folder"),
        (["--expert", "other=1"], "other: its vocabulary is not that of base"),
        (["--base-top-p", "0.5"], "base_top_p: nothing is combined"),
        (
            ["--combine", "bayes", "--expert", "good=1"],
            "combine=bayes: needs an expert",
        ),
        (["--combine", "mixture", "--expert", "good=1.5"], "combine=mixture: the weights"),
        (["--negative-prompt", "bad"], "negative_prompt: has no effect without a guidance_scale"),
        (["--expert", "good=1", "--class-weight", "2"], "class_weight: is for combine=bayes"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line(
    arguments: list[str], message: str, folder: Path, wenmo: Callable[..., Any]
) -> None:
    done = wenmo("generate", "base", *arguments, cwd=folder, code=2)
    assert done.stderr.startswith(f"wenmo: {message}")
    assert done.stderr.count("\n") == 1
    assert not done.stdout


def test_another_vocabulary_is_refused_before_a_model_is_loaded(
    folder: Path, wenmo: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wenmo.runs.store.load_model", None)
    done = wenmo("generate", "base", "--expert", "other=1", cwd=folder, code=2)
    assert "train it with --tokenizer-from base" in done.stderr
    done = wenmo("train", "x.txt", "--tokenizer-from", "missing", cwd=folder, code=2)
    assert "missing: no such run folder" in done.stderr


def test_the_settings_in_one_line() -> None:
    assert not CombinationSettings().steers
    settings, others = split_combination(
        {"classifier": {"formal.safetensors": 2}, "guidance_scale": 1.5, "negative_prompt": "俗",
         "temperature": 1}
    )  # fmt: skip
    assert others == {"temperature": 1}
    assert str(settings) == (
        "product: the run +2 × formal.safetensors guidance 1.5 from '俗', among its own top-k 200"
    )
    assert str(CombinationSettings(expert=("a=1",), anti=("b=1",), combine="bayes")) == (
        "bayes 1: the run +1 × a -1 × b, among its own top-p 0.9"
    )
    assert "top-p" not in str(CombinationSettings(anti=("b=1",), base_min_p=0.1))


def test_a_classifier_steers_a_run(folder: Path, wenmo: Callable[..., Any]) -> None:
    (folder / "good.txt").write_text("\n".join(GOOD), "utf-8")
    (folder / "bad.txt").write_text("\n".join(BAD), "utf-8")
    files = ("--toward", "good.txt", "--from", "bad.txt", "--out", "good.safetensors")
    done = wenmo("classifier", "base", *files, "--json", cwd=folder)
    assert json.loads(done.stdout)["accuracy"] == 1
    run, path = load(folder / "base"), folder / "good.safetensors"
    free = run.texts([""], 20, seed=1, max_tokens=30)[0]
    texts = run.texts([""], 20, seed=1, max_tokens=30, classifier={path: 20})[0]
    assert sum("good" in text for text in texts) > sum("good" in text for text in free)
    assert sum("bad" in text for text in texts) < sum("bad" in text for text in free)
    refused = wenmo("generate", "base", "--classifier", "good.txt=1", cwd=folder, code=2)
    assert refused.stderr == ("wenmo: good.txt: not a classifier: make one with wenmo classifier\n")
    with pytest.raises(WenmoError, match="another vocabulary"):
        load(folder / "other").texts([""], classifier={path: 1})


# -- sources and prompts -------------------------------------------------------------------------


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with an encoder, one that reads its source as a prefix, and one of plain text."""
    root = tmp_path_factory.mktemp("pairs")
    records = [(f"say {word} {n % 5}", f"{word} {n % 5}") for n in range(30) for word in ("a", "b")]
    small: dict[str, Any] = {"steps": 2, "task.name": "translation", "ngram_prior.enabled": False}
    sizes = {"seq2seq": {"hidden_size": 8, "embedding_size": 8}, "lstm": {"hidden_size": 8}}
    base = None
    for name, size in sizes.items():
        shared = {} if base is None else {"tokenizer.run": str(base)}
        base = fit(
            records, model=name, out=root / name, settings={**small, **size, **shared}
        ).folder
    fit([y for _, y in records], model="ngram", out=root / "plain",
        settings={"tokenizer.run": str(base)})  # fmt: skip
    return root


def test_a_run_of_plain_text_reads_the_answer_alone(pairs: Path) -> None:
    for name in ("seq2seq", "lstm"):
        run = load(pairs / name)
        options = {"expert": f"{pairs / 'plain'}=30", "max_tokens": 4, "method": "greedy"}
        texts = run.texts(["say b 1", "say a"], **options)
        assert all(text[0] in "ab" for [text] in texts)  # as the plain texts begin
        assert [run.texts([prompt], **options)[0] for prompt in ("say b 1", "say a")] == texts


def test_runs_that_read_their_source_in_another_way_are_refused(pairs: Path) -> None:
    with pytest.raises(WenmoError, match="was trained to answer a source"):
        load(pairs / "seq2seq").texts(["say a"], expert=f"{pairs / 'lstm'}=1")
    with pytest.raises(WenmoError, match="was trained to answer a source"):
        load(pairs / "plain").texts(["a"], expert=f"{pairs / 'lstm'}=1")


@torch.no_grad()
@pytest.mark.parametrize("name", ["seq2seq", "lstm"])
def test_guidance_replaces_the_source(name: str, pairs: Path) -> None:
    """log p⁻ + γ (log p − log p⁻), with the negative prompt as the source."""
    run, scale = load(pairs / name), 2.0
    options = {"method": "greedy", "max_tokens": 3, "same_length": False}
    [[output]] = run.write(
        ["say a 1"], guidance_scale=scale, negative_prompt="say b", prefix="a", **options
    )
    assert output.combined_logprob is not None
    total, written = 0.0, [*run.tokenizer.encode("a").tolist()]
    for id_ in output.ids:
        logp = [_after(run, source, written) for source in ("say a 1", "say b")]
        guided = (logp[1] + scale * (logp[0] - logp[1])).log_softmax(0)
        total += float(guided[id_])
        written.append(id_)
    assert output.combined_logprob == pytest.approx(total, abs=1e-3)


def _after(run: Any, source: str, written: list[int]) -> torch.Tensor:
    ids = run.tokenizer.encode_source(source).tolist()
    if run.model.conditioning == "encoder":
        state = run.model.initial_state(1, source=torch.tensor([[*ids, 0]]))
        logits = run.model(torch.tensor([[0, *written]]), state)[0]
    else:
        logits = run.model(torch.tensor([[0, *ids, 0, *written]]))[0]
    return logits[0, -1].log_softmax(0)


@torch.no_grad()
def test_classes_are_told_by_the_answer_alone(pairs: Path) -> None:
    """log p(v | source, x) + λ log P(class | x v): the source is none of the classifier's x."""
    run, path = load(pairs / "lstm"), pairs / "a.safetensors"
    run.fit_classifier([f"a {n}" for n in range(20)], [f"b {n}" for n in range(20)], path)
    classifier = load_classifier(path, run.tokenizer.table)
    options = {"method": "greedy", "max_tokens": 4, "same_length": False, "base_top_k": 0}
    [[output]] = run.write(["say b 1"], classifier={path: 3}, **options)
    assert output.combined_logprob is not None
    total, written = 0.0, []
    for id_ in output.ids:
        logp = (
            _after(run, "say b 1", written)
            + 3 * classifier(torch.tensor([[0, *written]]))[0][0, -1]
        )
        total += float(logp.log_softmax(0)[id_])
        written.append(id_)
    assert output.combined_logprob == pytest.approx(total, abs=1e-3)
    plain = str(pairs / "plain")
    classes = {"combine": "bayes", "expert": f"{plain}=1", "anti": f"{plain}=0.5", "base_top_p": 1}
    [[output]] = run.write(["say b 1"], **classes, **(options | {"max_tokens": 1}))
    counts, [id_] = load(plain).model(torch.tensor([[0]]))[0][0, -1].log_softmax(0), output.ids
    logp = _after(run, "say b 1", []) + torch.nn.functional.logsigmoid(0.5 * counts)
    assert output.combined_logprob == pytest.approx(float(logp.log_softmax(0)[id_]), abs=1e-3)
    mixed = {**classes, "anti": f"{pairs / 'lstm'}=1"}
    with pytest.raises(WenmoError, match="choose runs of one kind"):
        run.texts(["say a"], **mixed)

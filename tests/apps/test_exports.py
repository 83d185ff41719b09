"""What a run can be exported to is told before training, and offered afterwards."""

from __future__ import annotations

import json

import pytest
import torch


def test_a_run_on_counts_offers_its_network_alone(wenmo, runs, tmp_path):
    command = ("export", runs["gpt"], "--to", "huggingface", "--out", "there")
    told = wenmo(*command, cwd=tmp_path, code=2).stderr
    assert "--network-only" in told
    assert "held out" in told
    assert not (tmp_path / "there").exists()
    done = wenmo(*command, "--network-only", cwd=tmp_path)
    assert "without its counts: held out" in done.stderr
    assert (tmp_path / "there" / "config.json").is_file()


def test_what_can_be_exported_is_told_in_short_lines(runs):
    import wenmo as package
    from wenmo.runs.exports import describe_exports

    run = package.load(runs["gpt"])
    lines = describe_exports(run.model, run.card.recipe, run.tokenizer)
    assert lines[0].endswith("only wenmo can run it whole")
    assert "--prior none" in lines[1]
    assert "--network-only" in lines[2]
    assert max(map(len, lines)) <= 80


def test_the_network_that_is_written_is_that_of_the_run(wenmo, runs, tmp_path):
    from transformers import AutoModelForCausalLM

    import wenmo as package

    run = package.load(runs["gpt"])
    command = ("export", runs["gpt"], "--to", "huggingface", "--out", "there", "--network-only")
    wenmo(*command, cwd=tmp_path)
    theirs = AutoModelForCausalLM.from_pretrained(tmp_path / "there", local_files_only=True).eval()
    ids = torch.tensor([[0, *run.tokenizer.encode("The quick 春眠")]])
    with torch.inference_mode():
        ours, _ = run.model.mixture_components()["network"](ids)
        torch.testing.assert_close(theirs(ids).logits, ours, rtol=1e-4, atol=1e-4)


def test_what_is_not_possible_is_refused_with_what_is(wenmo, runs, tmp_path):
    def refused(*command):
        return wenmo("export", *command, "--out", "x", cwd=tmp_path, code=2).stderr

    told = refused(runs["gpt"], "--to", "gguf")
    assert "huggingface, onnx with --network-only" in told
    assert "leave it out" in refused(runs["lstm"], "--to", "onnx", "--network-only")
    assert "only n-gram models" in refused(runs["lstm"], "--to", "arpa")


@pytest.mark.parametrize(
    ("model", "told", "listed"),
    [
        ("gpt", "--network-only", "--to huggingface --network-only"),
        ("lstm", "wenmo export --to onnx", "--to onnx"),
        ("ngram", "wenmo export --to arpa", "--to arpa"),
    ],
)
def test_what_is_possible_is_told_and_written_down(
    wenmo, runs, text, tmp_path, model, told, listed
):
    assert listed in wenmo("show", runs[model], cwd=tmp_path).stdout
    exports = json.loads(wenmo("show", runs[model], "--json", cwd=tmp_path).stdout)["exports"]
    assert set(exports) == {"huggingface", "gguf", "onnx", "arpa", "grammar"}
    if model != "ngram":
        return
    done = wenmo("train", text, "--model", model, "--out", "run", "order=3", cwd=tmp_path)
    assert told in done.stderr


def test_the_formats_that_are_offered_are_those_that_are_written():
    from wenmo.runs.exports import EXPORTERS
    from wenmo.runs.preflight import FORMATS

    assert list(EXPORTERS) == list(FORMATS)

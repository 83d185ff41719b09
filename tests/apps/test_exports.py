"""The export formats that a run supports: notes before training, offers afterwards."""

from __future__ import annotations

import json

import pytest
import torch


def test_a_network_with_counts_can_export_its_network_only(wenmo, runs, tmp_path):
    command = ("export", runs["gpt"], "--to", "huggingface", "--out", "exported")
    stderr = wenmo(*command, cwd=tmp_path, code=2).stderr
    assert "--network-only" in stderr
    assert "held out" in stderr
    assert not (tmp_path / "exported").exists()
    done = wenmo(*command, "--network-only", cwd=tmp_path)
    assert "without its counts: held out" in done.stderr
    assert (tmp_path / "exported" / "config.json").is_file()


def test_export_notes_are_short_lines(runs):
    import wenmo as package
    from wenmo.runs.exports import describe_exports

    run = package.load(runs["gpt"])
    lines = describe_exports(run.model, run.card.recipe, run.tokenizer)
    assert lines[0].endswith("only wenmo can run it whole")
    assert "--prior none" in lines[1]
    assert "--network-only" in lines[2]
    assert max(map(len, lines)) <= 80


def test_the_exported_network_gives_the_same_logits(wenmo, runs, tmp_path):
    from transformers import AutoModelForCausalLM

    import wenmo as package

    run = package.load(runs["gpt"])
    command = ("export", runs["gpt"], "--to", "huggingface", "--out", "exported", "--network-only")
    wenmo(*command, cwd=tmp_path)
    exported = AutoModelForCausalLM.from_pretrained(
        tmp_path / "exported", local_files_only=True
    ).eval()
    ids = torch.tensor([[0, *run.tokenizer.encode("The quick 春眠")]])
    with torch.inference_mode():
        ours, _ = run.model.mixture_components()["network"](ids)
        torch.testing.assert_close(exported(ids).logits, ours, rtol=1e-4, atol=1e-4)


def test_an_impossible_export_names_the_possible_ones(wenmo, runs, tmp_path):
    def refused(*command):
        return wenmo("export", *command, "--out", "x", cwd=tmp_path, code=2).stderr

    stderr = refused(runs["gpt"], "--to", "gguf")
    assert "huggingface, onnx with --network-only" in stderr
    assert "leave it out" in refused(runs["lstm"], "--to", "onnx", "--network-only")
    assert "only n-gram models" in refused(runs["lstm"], "--to", "arpa")


@pytest.mark.parametrize(
    ("model", "message", "listed"),
    [
        ("gpt", "--network-only", "--to huggingface --network-only"),
        ("lstm", "wenmo export --to onnx", "--to onnx"),
        ("ngram", "wenmo export --to arpa", "--to arpa"),
    ],
)
def test_possible_exports_are_shown(wenmo, runs, text, tmp_path, model, message, listed):
    assert listed in wenmo("show", runs[model], cwd=tmp_path).stdout
    exports = json.loads(wenmo("show", runs[model], "--json", cwd=tmp_path).stdout)["exports"]
    assert set(exports) == {"huggingface", "gguf", "onnx", "arpa", "grammar"}
    if model != "ngram":
        return
    done = wenmo("train", text, "--model", model, "--out", "run", "order=3", cwd=tmp_path)
    assert message in done.stderr


def test_every_offered_format_has_an_exporter():
    from wenmo.runs.exports import EXPORTERS
    from wenmo.runs.preflight import FORMATS

    assert list(EXPORTERS) == list(FORMATS)

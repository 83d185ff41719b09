"""The command line with models that others trained: used, trained further, and handed on."""

from __future__ import annotations

import contextlib
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from wenmo.evaluation.evaluate import readable_pairs
from wenmo.text.pretrained import byte_level
from wenmo.text.vocabularies import byte_alphabet

SHORT = ["--steps", 12, "batch_size=2", "sequence_length=24", "eval_count=2"]


@pytest.fixture(scope="module")
def base(make_llama, tmp_path_factory: pytest.TempPathFactory) -> Path:
    settings = {"max_position_embeddings": 64, "bos_token_id": 257, "eos_token_id": 258}
    folder = tmp_path_factory.mktemp("base") / "llama"
    return make_llama(folder, ["<pad>", "<s>", "</s>"], **settings)


@pytest.fixture(scope="module")
def further(wenmo, base, text, tmp_path_factory) -> Path:
    folder: Path = tmp_path_factory.mktemp("further")
    wenmo("train", text, "--from", base, "--out", "run", *SHORT, cwd=folder)
    return folder / "run"


@pytest.fixture(scope="module")
def adapted(wenmo, base, text, tmp_path_factory) -> Path:
    folder: Path = tmp_path_factory.mktemp("adapted")
    wenmo("train", text, "--from", base, "--out", "run", "lora_rank=2", *SHORT, cwd=folder)
    return folder / "run"


def figures(wenmo, run, text) -> dict:
    return json.loads(wenmo("evaluate", run, text, "--json", cwd=text.parent).stdout)


def test_it_writes_and_is_scored(wenmo, base, text):
    told = wenmo("generate", base, "--prompt", "The", "--max-tokens", 5, "--json", cwd=text.parent)
    assert json.loads(told.stdout)["outputs"][0]["tokens"] <= 5
    assert figures(wenmo, base, text)["bits_per_byte"] > 4  # it knows nothing
    assert "explain" in wenmo("--help", cwd=text.parent).stdout
    wenmo("explain", base, "The fox", cwd=text.parent)


def test_training_further_helps_and_opens_there(wenmo, base, further, text):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    before, after = figures(wenmo, base, text), figures(wenmo, further, text)
    assert after["bits_per_byte"] < before["bits_per_byte"]
    import wenmo as package

    run = package.load(further)
    theirs = AutoModelForCausalLM.from_pretrained(further, local_files_only=True).eval()
    tokenizer = AutoTokenizer.from_pretrained(further, local_files_only=True)
    ids = run.tokenizer.encode("The quick brown fox").tolist()
    assert tokenizer.encode("The quick brown fox") == run.tokenizer.external_ids(ids)
    with torch.no_grad():
        expected = theirs(torch.tensor([run.tokenizer.external_ids(ids)])).logits
        given, _ = run.model(torch.tensor([ids]))
    order = run.tokenizer.external_ids(range(run.tokenizer.vocab_size))
    torch.testing.assert_close(given, expected[..., order], rtol=1e-4, atol=1e-4)


def test_adapters_are_small_and_help(wenmo, base, adapted, text):
    assert not (adapted / "model.safetensors").exists()
    weights = (adapted / "adapter_model.safetensors").stat().st_size
    assert weights < (base / "model.safetensors").stat().st_size / 2
    for checkpoint in (adapted / "checkpoints").glob("*.safetensors"):
        assert checkpoint.stat().st_size < 5 * weights  # no more than weights and moments
    config = json.loads((adapted / "adapter_config.json").read_text())
    assert config["peft_type"] == "LORA"
    assert "q_proj" in config["target_modules"]
    assert (
        figures(wenmo, adapted, text)["nats_per_token"]
        < figures(wenmo, base, text)["nats_per_token"]
    )
    wenmo("generate", adapted, "--prompt", "The", "--max-tokens", 5, cwd=text.parent)


def test_adapters_are_merged_on_the_way_out(wenmo, adapted, text, tmp_path):
    wenmo("export", adapted, "--to", "huggingface", "--out", "merged", cwd=tmp_path)
    merged = figures(wenmo, tmp_path / "merged", text)
    assert merged["nats_per_token"] == pytest.approx(
        figures(wenmo, adapted, text)["nats_per_token"], rel=1e-4
    )


def test_marks_and_chat_template_go_with_it(wenmo, base, text, tmp_path):
    """Out again, and after training, both are what they were, for `transformers`, too."""
    from transformers import AutoConfig, AutoTokenizer

    shutil.copytree(base, tmp_path / "base")
    template = (
        "{{ bos_token }}{% for m in messages %}{{ m.role }}: {{ m.content }}{{ eos_token }}"
        "{% endfor %}{% if add_generation_prompt %}assistant: {% endif %}"
    )
    marks = {"bos_token": "<s>", "eos_token": "</s>", "chat_template": template}
    settings = {"tokenizer_class": "PreTrainedTokenizerFast", **marks}
    (tmp_path / "base" / "tokenizer_config.json").write_text(json.dumps(settings))
    wenmo("export", "base", "--to", "huggingface", "--out", "out", cwd=tmp_path)
    wenmo("train", text, "--from", "base", "--out", "run", *SHORT, cwd=tmp_path)
    wenmo("export", "run", "--to", "huggingface", "--out", "again", cwd=tmp_path)
    talk = [{"role": "user", "content": "你好！"}, {"role": "assistant", "content": "Hello."}]
    rendered = []
    for name in ("base", "out", "run", "again"):
        tokenizer = AutoTokenizer.from_pretrained(tmp_path / name, local_files_only=True)
        asked = {"tokenize": False, "add_generation_prompt": True}
        rendered.append(tokenizer.apply_chat_template(talk, **asked))
        config = AutoConfig.from_pretrained(tmp_path / name, local_files_only=True)
        assert (config.bos_token_id, config.eos_token_id) == (257, 258)
        assert (tokenizer.bos_token_id, tokenizer.eos_token_id) == (257, 258)
    assert rendered == ["<s>user: 你好！</s>assistant: Hello.</s>assistant: "] * 4


def test_graphs_hold_merged_adapters(wenmo, adapted, tmp_path):
    """Their ids are those of the tokenizer beside, of which END is not 0."""
    onnxruntime = pytest.importorskip("onnxruntime", reason="needs the onnxruntime package")
    import wenmo as package

    wenmo("export", adapted, "--to", "onnx", "--out", "graph", cwd=tmp_path)
    run = package.load(adapted)
    ids = [0, *run.tokenizer.encode("The quick brown fox").tolist()]
    with torch.no_grad():
        expected, _ = run.model(torch.tensor([ids]))
    about = json.loads((tmp_path / "graph" / "model.json").read_text())
    assert (about["text"]["before"], about["end"]) == ([], 258)
    sizes = {"rows": 1, "past": 0}
    state = {
        name: np.zeros([sizes.get(size, size) for size in tensor["shape"]], tensor["type"])
        for name, tensor in about["state"].items()
    }
    step = onnxruntime.InferenceSession(tmp_path / "graph" / "model.onnx")
    read = np.array([run.tokenizer.external_ids(ids)])
    logits = step.run(["logits"], {"tokens": read, **state})[0]
    given = torch.from_numpy(logits)[..., run.tokenizer.external_ids(range(259))]
    torch.testing.assert_close(given, expected, rtol=1e-4, atol=1e-4)


def test_gguf_out_and_in_again(wenmo, further, text, tmp_path):
    pytest.importorskip("gguf", reason="needs the gguf package")
    for precision, close in (("float32", 1e-5), ("float16", 1e-2)):
        out = f"{precision}.gguf"
        wenmo(
            "export", further, "--to", "gguf", "--out", out, "--precision", precision, cwd=tmp_path
        )
        again = figures(wenmo, tmp_path / out, text)
        assert again["nats_per_token"] == pytest.approx(
            figures(wenmo, further, text)["nats_per_token"], rel=close
        )
    told = wenmo("export", further, "--to", "gguf", "--out", out, cwd=tmp_path, code=2).stderr
    assert "already exists" in told
    assert (
        "n-gram"
        in wenmo("export", further, "--to", "arpa", "--out", "x", cwd=tmp_path, code=2).stderr
    )
    assert (
        "unknown format"
        in wenmo("export", further, "--to", "pdf", "--out", "x", cwd=tmp_path, code=2).stderr
    )


@pytest.mark.parametrize(
    "way", [["trainable_blocks=1"], ["gradual_unfreezing=true"], ["gradient_checkpointing=true"]]
)
def test_other_ways_of_training_further(wenmo, base, text, tmp_path, way):
    wenmo("train", text, "--from", base, "--out", "run", *way, *SHORT, cwd=tmp_path)
    import wenmo as package

    before, after = package.load(base).model, package.load(tmp_path / "run").model
    changed = {
        name
        for (name, a), b in zip(before.named_parameters(), after.parameters(), strict=True)
        if not torch.equal(a, b)
    }
    early = {name for name in changed if name.startswith(("blocks.0.", "embedding"))}
    assert changed
    assert bool(early) != (way == ["trainable_blocks=1"])


def test_pairs_and_conversations_train_it_further(wenmo, base, tmp_path):
    pairs = "".join(f"source {n}\ttarget {n}\n" for n in range(60))
    (tmp_path / "pairs.tsv").write_text("source\ttarget\n" + pairs)
    command = ("train", "pairs.tsv", "--task", "translation", "--from", base, "--out", "run")
    wenmo(*command, "--steps", 6, "tokens_per_batch=256", "eval_count=1", cwd=tmp_path)
    told = wenmo("generate", "run", "--prompt", "source 3", "--json", cwd=tmp_path)
    assert "outputs" in json.loads(told.stdout)
    talk = "".join(
        json.dumps({"turns": [f"How are you, {n}?", "Well.", "And you?"]}) + "\n" for n in range(40)
    )
    (tmp_path / "talk.jsonl").write_text(talk)
    command = ("train", "talk.jsonl", "--task", "dialogue", "--from", base, "--out", "talks")
    wenmo(
        *command, "--steps", 6, "tokens_per_batch=256", "eval_count=1", "lora_rank=2", cwd=tmp_path
    )
    assert wenmo("chat", "talks", cwd=tmp_path, given="Hello?\n\n").returncode == 0


def test_what_is_forgotten_is_measured(wenmo, base, text, tmp_path):
    (tmp_path / "old.txt").write_text("Something else entirely, 12345.\n" * 30)
    command = ("train", text, "--from", base, "--out", "run", "--reference", "old.txt", *SHORT)
    assert "before" in wenmo(*command, cwd=tmp_path).stdout
    forgetting = json.loads((tmp_path / "run" / "wenmo.json").read_text())["results"]["forgetting"]
    old = figures(wenmo, base, tmp_path / "old.txt")["bits_per_byte"]
    assert forgetting["before"] == pytest.approx(old, rel=1e-4)
    new = figures(wenmo, tmp_path / "run", tmp_path / "old.txt")["bits_per_byte"]
    assert forgetting["after"] == pytest.approx(new, rel=1e-4)


def test_a_run_is_a_base_too(wenmo, further, runs, text, tmp_path):
    wenmo("train", text, "--from", further, "--out", "run", *SHORT, cwd=tmp_path)
    again = wenmo("train", text, "--from", further, "--out", "run", *SHORT, cwd=tmp_path)
    assert "trained already" in again.stderr
    ways = {
        "lstm": [],
        "gpt": ["lora_rank=2"],
    }  # the latter stands on counts, which stay as they are
    for name, way in ways.items():
        wenmo("train", text, "--from", runs[name], "--out", name, *way, *SHORT, cwd=tmp_path)
        wenmo("generate", name, "--prompt", "The", "--max-tokens", 3, cwd=tmp_path)
    command = ("train", text, "--from", runs["lstm"], "--out", "no", "lora_rank=2", *SHORT)
    assert "train it without" in wenmo(*command, cwd=tmp_path, code=2).stderr


def test_what_cannot_be_is_told(wenmo, base, text, tmp_path):
    cases = {
        ("--model", "lstm"): "--model and --from",
        ("lora_rank=2", 'lora_targets=["nothing"]'): "no layer of this model is called 'nothing'",
        (
            "lora_rank=2",
            "gradual_unfreezing=true",
        ): "without trainable_blocks or gradual_unfreezing",
        ("hidden_size=64",): "does not fit",
        ("--prior", "ngram"): "omit --prior",
    }
    for options, match in cases.items():
        command = ("train", text, "--from", base, "--out", "run", *options, *SHORT)
        assert match in wenmo(*command, cwd=tmp_path, code=2).stderr
    none = wenmo("train", text, "--from", "nothing", "--out", "run", *SHORT, cwd=tmp_path, code=2)
    assert "no such run folder" in none.stderr


@pytest.mark.parametrize("lora", [0, 2])
def test_an_encoder_decoder_goes_on_as_it_began(wenmo, tmp_path, lora):
    """What stands before and after its texts is trained with, kept, and told to others."""
    from transformers import AutoModelForSeq2SeqLM, T5Config, T5ForConditionalGeneration

    sizes = {"d_model": 16, "d_kv": 8, "d_ff": 24, "num_layers": 1, "num_heads": 2}
    marks = {"pad_token_id": 257, "decoder_start_token_id": 257, "eos_token_id": 258}
    config = T5Config(vocab_size=259, feed_forward_proj="gated-gelu", **sizes, **marks)
    T5ForConditionalGeneration(config).save_pretrained(tmp_path / "t5")
    letters = {letter: id_ for id_, letter in enumerate(byte_alphabet())}
    names = {"<s>": 256, "<pad>": 257, "</s>": 258}
    library = byte_level({**letters, **names}, [], special=names)
    library.save(str(tmp_path / "t5" / "tokenizer.json"))
    pairs = "".join(f"source {n}\ttarget {n}\n" for n in range(40))
    (tmp_path / "pairs.tsv").write_text("source\ttarget\n" + pairs)
    command = ("train", "pairs.tsv", "--task", "translation", "--from", "t5", "--out", "run")
    wenmo(*command, "--steps", 2, "tokens_per_batch=256", f"lora_rank={lora}", cwd=tmp_path)
    import wenmo as package

    with contextlib.chdir(tmp_path):  # adapters name their base by where they were trained
        run = package.load("run")
    assert run.model.special_tokens.bos == (257,)
    [batch] = [readable_pairs(np.array([0, 5, 0, 6, 0]), None, run.model, run.task).batch([0])]
    assert batch.tokens.tolist() == [[257, 6]]
    if not lora:
        there = AutoModelForSeq2SeqLM.from_pretrained(tmp_path / "run", local_files_only=True)
        assert there.config.decoder_start_token_id == 257

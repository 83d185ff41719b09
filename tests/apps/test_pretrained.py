"""Pretrained models on the command line: generation, fine-tuning and export."""

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


def test_generation_and_evaluation(wenmo, base, text):
    done = wenmo("generate", base, "--prompt", "The", "--max-tokens", 5, "--json", cwd=text.parent)
    assert json.loads(done.stdout)["outputs"][0]["tokens"] <= 5
    assert figures(wenmo, base, text)["bits_per_byte"] > 4  # random weights
    assert "explain" in wenmo("--help", cwd=text.parent).stdout
    wenmo("explain", base, "The fox", cwd=text.parent)


def test_fine_tuning_improves_and_opens_in_transformers(wenmo, base, further, text):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    before, after = figures(wenmo, base, text), figures(wenmo, further, text)
    assert after["bits_per_byte"] < before["bits_per_byte"]
    import wenmo as package

    run = package.load(further)
    reference = AutoModelForCausalLM.from_pretrained(further, local_files_only=True).eval()
    tokenizer = AutoTokenizer.from_pretrained(further, local_files_only=True)
    ids = run.tokenizer.encode("The quick brown fox").tolist()
    assert tokenizer.encode("The quick brown fox") == run.tokenizer.external_ids(ids)
    with torch.no_grad():
        expected = reference(torch.tensor([run.tokenizer.external_ids(ids)])).logits
        logits, _ = run.model(torch.tensor([ids]))
    order = run.tokenizer.external_ids(range(run.tokenizer.vocab_size))
    torch.testing.assert_close(logits, expected[..., order], rtol=1e-4, atol=1e-4)


def test_adapters_are_small_and_improve(wenmo, base, adapted, text):
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


def test_export_merges_adapters(wenmo, adapted, text, tmp_path):
    wenmo("export", adapted, "--to", "huggingface", "--out", "merged", cwd=tmp_path)
    merged = figures(wenmo, tmp_path / "merged", text)
    assert merged["nats_per_token"] == pytest.approx(
        figures(wenmo, adapted, text)["nats_per_token"], rel=1e-4
    )


def test_special_tokens_and_chat_template_are_kept(wenmo, base, text, tmp_path):
    """Export and training keep both; `transformers` reads them."""
    from transformers import AutoConfig, AutoTokenizer

    shutil.copytree(base, tmp_path / "base")
    template = (
        "{{ bos_token }}{% for m in messages %}{{ m.role }}: {{ m.content }}{{ eos_token }}"
        "{% endfor %}{% if add_generation_prompt %}assistant: {% endif %}"
    )
    special_tokens = {"bos_token": "<s>", "eos_token": "</s>", "chat_template": template}
    settings = {"tokenizer_class": "PreTrainedTokenizerFast", **special_tokens}
    (tmp_path / "base" / "tokenizer_config.json").write_text(json.dumps(settings))
    wenmo("export", "base", "--to", "huggingface", "--out", "out", cwd=tmp_path)
    wenmo("train", text, "--from", "base", "--out", "run", *SHORT, cwd=tmp_path)
    wenmo("export", "run", "--to", "huggingface", "--out", "again", cwd=tmp_path)
    conversation = [
        {"role": "user", "content": "你好！"},
        {"role": "assistant", "content": "Hello."},
    ]
    rendered = []
    for name in ("base", "out", "run", "again"):
        tokenizer = AutoTokenizer.from_pretrained(tmp_path / name, local_files_only=True)
        options = {"tokenize": False, "add_generation_prompt": True}
        rendered.append(tokenizer.apply_chat_template(conversation, **options))
        config = AutoConfig.from_pretrained(tmp_path / name, local_files_only=True)
        assert (config.bos_token_id, config.eos_token_id) == (257, 258)
        assert (tokenizer.bos_token_id, tokenizer.eos_token_id) == (257, 258)
    assert rendered == ["<s>user: 你好！</s>assistant: Hello.</s>assistant: "] * 4


def test_onnx_graphs_have_merged_adapters(wenmo, adapted, tmp_path):
    """The ids of a graph are those of its tokenizer, in which END is not 0."""
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
    ordered = torch.from_numpy(logits)[..., run.tokenizer.external_ids(range(259))]
    torch.testing.assert_close(ordered, expected, rtol=1e-4, atol=1e-4)


def test_gguf_round_trip(wenmo, further, text, tmp_path):
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
    stderr = wenmo("export", further, "--to", "gguf", "--out", out, cwd=tmp_path, code=2).stderr
    assert "already exists" in stderr
    assert (
        "n-gram"
        in wenmo("export", further, "--to", "arpa", "--out", "x", cwd=tmp_path, code=2).stderr
    )
    assert (
        "unknown format"
        in wenmo("export", further, "--to", "pdf", "--out", "x", cwd=tmp_path, code=2).stderr
    )


@pytest.mark.parametrize(
    "settings",
    [["trainable_blocks=1"], ["gradual_unfreezing=true"], ["gradient_checkpointing=true"]],
)
def test_freezing_and_gradient_checkpointing(wenmo, base, text, tmp_path, settings):
    wenmo("train", text, "--from", base, "--out", "run", *settings, *SHORT, cwd=tmp_path)
    import wenmo as package

    before, after = package.load(base).model, package.load(tmp_path / "run").model
    changed = {
        name
        for (name, a), b in zip(before.named_parameters(), after.parameters(), strict=True)
        if not torch.equal(a, b)
    }
    early = {name for name in changed if name.startswith(("blocks.0.", "embedding"))}
    assert changed
    assert bool(early) != (settings == ["trainable_blocks=1"])


def test_fine_tuning_on_pairs_and_conversations(wenmo, base, tmp_path):
    pairs = "".join(f"source {n}\ttarget {n}\n" for n in range(60))
    (tmp_path / "pairs.tsv").write_text("source\ttarget\n" + pairs)
    command = ("train", "pairs.tsv", "--task", "translation", "--from", base, "--out", "run")
    wenmo(*command, "--steps", 6, "tokens_per_batch=256", "eval_count=1", cwd=tmp_path)
    done = wenmo("generate", "run", "--prompt", "source 3", "--json", cwd=tmp_path)
    assert "outputs" in json.loads(done.stdout)
    conversations = "".join(
        json.dumps({"turns": [f"How are you, {n}?", "Well.", "And you?"]}) + "\n" for n in range(40)
    )
    (tmp_path / "conversations.jsonl").write_text(conversations)
    command = (
        "train",
        "conversations.jsonl",
        "--task",
        "dialogue",
        "--from",
        base,
        "--out",
        "talks",
    )
    wenmo(
        *command, "--steps", 6, "tokens_per_batch=256", "eval_count=1", "lora_rank=2", cwd=tmp_path
    )
    assert wenmo("chat", "talks", cwd=tmp_path, given="Hello?\n\n").returncode == 0


def test_forgetting_is_measured(wenmo, base, text, tmp_path):
    (tmp_path / "old.txt").write_text("Something else entirely, 12345.\n" * 30)
    command = ("train", text, "--from", base, "--out", "run", "--reference", "old.txt", *SHORT)
    assert "before" in wenmo(*command, cwd=tmp_path).stdout
    forgetting = json.loads((tmp_path / "run" / "wenmo.json").read_text())["results"]["forgetting"]
    old = figures(wenmo, base, tmp_path / "old.txt")["bits_per_byte"]
    assert forgetting["before"] == pytest.approx(old, rel=1e-4)
    new = figures(wenmo, tmp_path / "run", tmp_path / "old.txt")["bits_per_byte"]
    assert forgetting["after"] == pytest.approx(new, rel=1e-4)


def test_fine_tuning_of_a_run(wenmo, further, runs, text, tmp_path):
    wenmo("train", text, "--from", further, "--out", "run", *SHORT, cwd=tmp_path)
    again = wenmo("train", text, "--from", further, "--out", "run", *SHORT, cwd=tmp_path)
    assert "trained already" in again.stderr
    # The counts of the GPT are kept.
    for name, settings in {"lstm": [], "gpt": ["lora_rank=2"]}.items():
        wenmo("train", text, "--from", runs[name], "--out", name, *settings, *SHORT, cwd=tmp_path)
        wenmo("generate", name, "--prompt", "The", "--max-tokens", 3, cwd=tmp_path)
    command = ("train", text, "--from", runs["lstm"], "--out", "no", "lora_rank=2", *SHORT)
    assert "train it without" in wenmo(*command, cwd=tmp_path, code=2).stderr


def test_invalid_options_are_refused(wenmo, base, text, tmp_path):
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
def test_an_encoder_decoder_keeps_its_special_tokens(wenmo, tmp_path, lora):
    """The special tokens are used in training, kept, and exported."""
    from transformers import AutoModelForSeq2SeqLM, T5Config, T5ForConditionalGeneration

    sizes = {"d_model": 16, "d_kv": 8, "d_ff": 24, "num_layers": 1, "num_heads": 2}
    special_tokens = {"pad_token_id": 257, "decoder_start_token_id": 257, "eos_token_id": 258}
    config = T5Config(vocab_size=259, feed_forward_proj="gated-gelu", **sizes, **special_tokens)
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
        exported = AutoModelForSeq2SeqLM.from_pretrained(tmp_path / "run", local_files_only=True)
        assert exported.config.decoder_start_token_id == 257

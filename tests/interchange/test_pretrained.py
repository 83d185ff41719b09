"""Models saved by `transformers` load with the same logits and generate the same texts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

import wenmo as package
from wenmo.decoding.engines.autoregressive import AutoregressiveEngine
from wenmo.decoding.generator import TextGenerator
from wenmo.decoding.params import Sampling
from wenmo.decoding.request import Request
from wenmo.interchange.loaded_model import LoadedModel
from wenmo.interchange.pretrained import locate, open_pretrained
from wenmo.models.capabilities import parameter_count
from wenmo.text.pretrained import byte_level
from wenmo.text.vocabularies import byte_alphabet
from wenmo.types import END, WenmoError

VOCAB, EXTERNAL_END, START, PAD = 300, 299, 298, 297
LENGTH = 24

MODERN = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 64,
}
CLASSIC = {"n_embd": 32, "n_layer": 3, "n_head": 4, "n_positions": 64}
T5 = {
    "d_model": 32,
    "d_kv": 12,
    "d_ff": 48,
    "num_layers": 2,
    "num_decoder_layers": 3,
    "num_heads": 4,
    "decoder_start_token_id": PAD,
    "pad_token_id": PAD,
}
BART = {
    "d_model": 32,
    "encoder_layers": 2,
    "decoder_layers": 3,
    "encoder_attention_heads": 4,
    "decoder_attention_heads": 4,
    "encoder_ffn_dim": 48,
    "decoder_ffn_dim": 48,
    "max_position_embeddings": 64,
    "pad_token_id": PAD,
    "decoder_start_token_id": START,
    "forced_eos_token_id": None,
    "forced_bos_token_id": None,
}
LLAMA_3 = {
    "rope_type": "llama3",
    "rope_theta": 500.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 32,
}
CAUSAL = {
    "gpt2": ("GPT2", CLASSIC),
    "gpt2, untied": ("GPT2", {**CLASSIC, "tie_word_embeddings": False, "n_inner": 40}),
    "ctrl": ("CTRL", {**CLASSIC, "dff": 48}),
    "llama": ("Llama", MODERN),
    "llama, tied, Llama 3's positions": (
        "Llama",
        {**MODERN, "tie_word_embeddings": True, "rope_parameters": LLAMA_3, "head_dim": 10},
    ),
    "mistral": ("Mistral", {**MODERN, "sliding_window": 5}),
    "qwen2": ("Qwen2", MODERN),
    "qwen3": ("Qwen3", {**MODERN, "head_dim": 12, "tie_word_embeddings": True}),
}
ANSWERING = {
    "t5": ("T5", {**T5, "feed_forward_proj": "relu"}),
    "t5, gated": ("T5", {**T5, "feed_forward_proj": "gated-gelu", "tie_word_embeddings": False}),
    "mt5": ("MT5", {**T5, "feed_forward_proj": "gated-gelu"}),
    "bart": ("Bart", BART),
    "mbart": ("MBart", {**BART, "scale_embedding": True}),
    "marian": ("Marian", {**BART, "scale_embedding": True, "activation_function": "swish"}),
}
every_causal = pytest.mark.parametrize("kind", CAUSAL)
every_answering = pytest.mark.parametrize("kind", ANSWERING)


def save_model(folder: Path, kind: str) -> Any:
    """Save a small random model with `transformers`."""
    import transformers

    name, settings = {**CAUSAL, **ANSWERING}[kind]
    config = getattr(transformers, f"{name}Config")(
        vocab_size=VOCAB, bos_token_id=START, eos_token_id=EXTERNAL_END, **settings
    )
    suffixes = {"t5": "ForConditionalGeneration", "mt5": "ForConditionalGeneration"}
    suffixes |= {"bart": "ForConditionalGeneration", "mbart": "ForConditionalGeneration"}
    suffixes |= {"marian": "MTModel", "gpt2": "LMHeadModel", "ctrl": "LMHeadModel"}
    suffix = suffixes.get(kind.partition(",")[0], "ForCausalLM")
    torch.manual_seed(0)
    model = getattr(transformers, name + suffix)(config).eval()
    with torch.no_grad():
        for weight in model.parameters():  # norms and biases, too: none can be left out unnoticed
            if weight.requires_grad:  # Marian's positions are no weights
                weight.add_(torch.randn_like(weight) * 0.15)
        if hasattr(model, "final_logits_bias"):
            model.final_logits_bias.normal_()
    model.generation_config.eos_token_id = EXTERNAL_END
    model.save_pretrained(folder)
    letters = {letter: id_ for id_, letter in enumerate(byte_alphabet())}
    marks = {f"<{id_}>": id_ for id_ in range(len(letters), VOCAB)}
    byte_level({**letters, **marks}, [], special=marks).save(str(folder / "tokenizer.json"))
    return model


def load_both(folder: Path, kind: str) -> tuple[Any, LoadedModel]:
    return save_model(folder, kind), open_pretrained(folder)


def some_ids(rows: int, time: int) -> torch.Tensor:
    return torch.randint(1, 256, (rows, time), generator=torch.Generator().manual_seed(1))


def to_internal_order(loaded: LoadedModel, logits: torch.Tensor) -> torch.Tensor:
    return logits[..., loaded.tokenizer.external_ids(range(VOCAB))]


@every_causal
def test_logits_match_transformers(kind: str, tmp_path: Path) -> None:
    reference, loaded = load_both(tmp_path, kind)
    ids = some_ids(3, LENGTH)
    with torch.no_grad():
        expected = to_internal_order(loaded, reference(ids).logits)
        given, state = loaded.model(ids)
        torch.testing.assert_close(given, expected, rtol=1e-4, atol=1e-4)
        first, state = loaded.model(ids[:, :7], loaded.model.initial_state(3, capacity=8))
        rest, _ = loaded.model(ids[:, 7:], state)
        torch.testing.assert_close(torch.cat([first, rest], 1), expected, rtol=1e-4, atol=1e-4)
    assert reference.num_parameters() == parameter_count(loaded.model)


@every_answering
def test_encoder_decoder_logits_match_transformers(kind: str, tmp_path: Path) -> None:
    reference, loaded = load_both(tmp_path, kind)
    source, ids = some_ids(3, 11), some_ids(3, LENGTH)
    end = torch.full((3, 1), EXTERNAL_END)
    with torch.no_grad():
        full = reference(input_ids=torch.cat([source, end], 1), decoder_input_ids=ids)
        state = loaded.model.initial_state(3, source=torch.cat([source, end * 0], 1))
        given, _ = loaded.model(ids, state)
    torch.testing.assert_close(given, to_internal_order(loaded, full.logits), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("beams", [1, 4])
@pytest.mark.parametrize("kind", [*CAUSAL, *ANSWERING])
def test_texts_match_transformers(kind: str, beams: int, tmp_path: Path) -> None:
    reference, loaded = load_both(tmp_path, kind)
    sizes = (3, 9, 5)
    prompts = [some_ids(1, size)[0].tolist() for size in sizes]
    engine = AutoregressiveEngine(loaded.model)
    method = "greedy" if beams == 1 else "beam"
    # Of one length: they look at the end mark only where it is among the best tokens of all.
    length = {"max_tokens": 12, "min_tokens": 12}
    sampling = Sampling(method=method, beam_width=4, length_penalty=0.0, **length)
    answering = kind in ANSWERING
    for prompt in prompts:
        engine.submit(Request((), sampling, prompt) if answering else Request(prompt, sampling))
    written: list[list[int]] = [[] for _ in prompts]
    for event in engine.run():
        if event.rank == 0:
            written[event.request].append(event.token)
    for prompt, text in zip(prompts, written, strict=True):
        ids = torch.tensor([[*prompt, EXTERNAL_END] if answering else prompt])
        [full] = reference.generate(
            ids,
            attention_mask=torch.ones_like(ids),
            max_new_tokens=12,
            min_new_tokens=12,
            num_beams=beams,
            length_penalty=0.0,
            do_sample=False,
            pad_token_id=PAD,
            use_cache=not answering,  # theirs counts the encoder's layers for T5's decoder
        )
        expected = (full[1:] if answering else full[len(prompt) :]).tolist()
        shown = loaded.tokenizer.external_ids(text)
        if beams > 1 and shown != expected:  # ours also follows the greedy text, in a row more
            start = full[:1].tolist()
            better = log_probability(reference, ids, [*start, *shown], answering=answering)
            assert better > log_probability(
                reference, ids, [*start, *expected], answering=answering
            )
        else:
            assert shown == expected


def log_probability(
    reference: Any, prompt: torch.Tensor, text: list[int], *, answering: bool
) -> float:
    """Log-probability of a text in transformers; the first id starts the decoder."""
    with torch.no_grad():
        if answering:
            logits = reference(input_ids=prompt, decoder_input_ids=torch.tensor([text])).logits
        else:
            content = torch.cat([prompt, torch.tensor([text[1:]])], 1)
            logits = reference(content).logits[:, prompt.shape[1] - 1 :]
    logp = logits[0].log_softmax(-1)
    return float(sum(logp[place, id_] for place, id_ in enumerate(text[1:])))


def test_every_end_token_ends_a_text(wenmo: Any, tmp_path: Path) -> None:
    """In wenmo, after fine-tuning, and in transformers after that."""
    import transformers

    folder = tmp_path / "llama"
    reference = save_model(folder, "llama")
    prompt = some_ids(1, 5)[0].tolist()

    def reference_text(model: Any) -> list[int]:
        ids = torch.tensor([prompt])
        mask = torch.ones_like(ids)
        [full] = model.generate(ids, attention_mask=mask, max_new_tokens=12, do_sample=False)
        return full[len(prompt) :].tolist()

    def loaded_text(model: Any) -> list[int]:
        engine = AutoregressiveEngine(model)
        engine.submit(Request(prompt, Sampling(method="greedy", max_tokens=12)))
        return [event.token for event in engine.run()]

    other = next(id_ for id_ in reference_text(reference)[3:] if id_ not in prompt)
    settings = {"eos_token_id": [EXTERNAL_END, other, 299_000], "bad_words_ids": [[7], [8, 9]]}
    (folder / "generation_config.json").write_text(json.dumps(settings))
    reference = transformers.AutoModelForCausalLM.from_pretrained(
        folder, local_files_only=True
    ).eval()
    loaded = open_pretrained(folder)
    assert (loaded.model.special_tokens.eos, loaded.model.special_tokens.suppressed) == (
        (other,),
        (7,),
    )
    expected = reference_text(reference)
    assert expected[-1] == other
    assert loaded.tokenizer.external_ids(loaded_text(loaded.model)) == [
        *expected[:-1],
        EXTERNAL_END,
    ]
    (tmp_path / "my.txt").write_text("The quick brown fox. 春眠不觉晓\n" * 40, "utf-8")
    command = (
        "train",
        "my.txt",
        "--from",
        folder,
        "--out",
        "run",
        "batch_size=2",
        "sequence_length=24",
    )
    wenmo(*command, "--steps", 1, "eval_count=1", "learning_rate=1e-9", cwd=tmp_path)
    run = package.load(tmp_path / "run")
    assert (run.model.special_tokens.eos, run.model.special_tokens.suppressed) == ((other,), (7,))
    again = transformers.AutoModelForCausalLM.from_pretrained(
        tmp_path / "run", local_files_only=True
    )
    assert again.generation_config.eos_token_id == [EXTERNAL_END, other]
    assert reference_text(again.eval()) == expected


def test_errors_for_damaged_models(tmp_path: Path) -> None:
    save_model(tmp_path, "llama")
    assert locate(tmp_path) == tmp_path
    assert locate(tmp_path / "nothing") is None
    config = json.loads((tmp_path / "config.json").read_text())

    def refused(match: str, **changes: Any) -> None:
        (tmp_path / "config.json").write_text(json.dumps({**config, **changes}))
        with pytest.raises(WenmoError, match=match) as error:
            open_pretrained(tmp_path)
        assert "\n" not in str(error.value)

    refused("model_type 'nothing' is not supported", model_type="nothing")
    refused("do not fit", intermediate_size=50)
    refused("layers", num_hidden_layers=4)
    refused("only", num_hidden_layers=10**9)
    refused("the embedding 300", vocab_size=10**12)
    refused("rope|attribute", rope_parameters="yarn")
    refused("hidden_act", hidden_act="sine")
    (tmp_path / "config.json").write_text(json.dumps(config))
    (tmp_path / "tokenizer.json").rename(tmp_path / "kept")
    (tmp_path / "vocab.json").write_text('{"a": 0, "b": 1}')
    for merges in ("a b c\n", "a b\n"):
        (tmp_path / "merges.txt").write_text(merges)
        refused("merges.txt: damaged")
    (tmp_path / "kept").rename(tmp_path / "tokenizer.json")
    content = (tmp_path / "model.safetensors").read_bytes()
    (tmp_path / "model.safetensors").write_bytes(content[: len(content) // 2])
    with pytest.raises(WenmoError, match="not a whole safetensors file"):
        open_pretrained(tmp_path)
    (tmp_path / "model.safetensors").unlink()
    (tmp_path / "pytorch_model.bin").write_bytes(b"")
    with pytest.raises(WenmoError, match="a pickle"):
        open_pretrained(tmp_path)


def test_gpt2_with_bert_tokenizer(tmp_path: Path) -> None:
    import transformers

    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    vocabulary = [*special, *"春眠不觉晓处闻啼鸟，。", "the", "fox", "##es", "a", "."]
    (tmp_path / "vocab.txt").write_text("\n".join(vocabulary) + "\n", "utf-8")
    settings = {**CLASSIC, "vocab_size": len(vocabulary), "eos_token_id": 50256}
    torch.manual_seed(0)
    model = transformers.GPT2LMHeadModel(transformers.GPT2Config(**settings)).eval()
    model.save_pretrained(tmp_path)
    (tmp_path / "tokenizer_config.json").write_text('{"tokenizer_class": "BertTokenizer"}')
    reference = transformers.AutoTokenizer.from_pretrained(tmp_path, local_files_only=True)
    loaded = open_pretrained(tmp_path)
    assert loaded.tokenizer.end == vocabulary.index("[SEP]")
    for text in ("春眠不觉晓，处处闻啼鸟。", "The foxes, a 春 fox.", "☃", "  a  the "):
        ids = loaded.tokenizer.external_ids(loaded.tokenizer.encode(text).tolist())
        assert ids == reference.encode(text, add_special_tokens=False)
    for text in ("春眠不觉晓，处处闻啼鸟。", "the foxes."):
        assert loaded.tokenizer.decode(loaded.tokenizer.encode(text)) == text
    ids = torch.tensor([loaded.tokenizer.encode("春眠不觉晓").tolist()])
    with torch.no_grad():
        expected = model(torch.tensor([loaded.tokenizer.external_ids(ids[0].tolist())])).logits
        given, _ = loaded.model(ids)
    order = loaded.tokenizer.external_ids(range(len(vocabulary)))
    torch.testing.assert_close(given, expected[..., order], rtol=1e-4, atol=1e-4)


def test_error_for_unreachable_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub.constants as constants

    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(WenmoError, match="cannot be reached") as error:
        locate("hub:nobody/nothing")
    assert "\n" not in str(error.value)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(WenmoError, match="HF_HUB_OFFLINE"):
        locate("hub:nobody/nothing")
    with pytest.raises(WenmoError, match="hub:OWNER/NAME"):
        locate("hub:a/b/c")


def test_llama2c_model(data: Path) -> None:
    folder = data / "weights" / "stories260K"
    loaded = open_pretrained(folder / "stories260K.bin")
    writer = TextGenerator(loaded.model, loaded.tokenizer)
    [[output]] = writer.generate([""], Sampling(method="greedy", max_tokens=80))
    assert output.text.startswith(
        "Once upon a time, there was a little girl named Lily. She loved to play outside in the "
        "park. One day, she saw a big, red ball. She wanted to play with it, but it was too high."
    )


def test_end_token_has_id_zero(tmp_path: Path) -> None:
    _, loaded = load_both(tmp_path, "qwen2")
    tokenizer = loaded.tokenizer
    assert tokenizer.table[END] == b""
    for text in ("Hello, 世界!\n\n  x", "", "\x00"):
        ids = tokenizer.encode(text).tolist()
        assert END not in ids
        assert tokenizer.decode(ids) == text
    assert tokenizer.external_ids([END, EXTERNAL_END]) == [EXTERNAL_END, END]

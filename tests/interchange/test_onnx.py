"""ONNX graphs of all networks match the models in onnxruntime."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from wenmo.decoding.engines.autoregressive import AutoregressiveEngine
from wenmo.decoding.params import Sampling
from wenmo.decoding.request import Request
from wenmo.interchange import onnx as graphs
from wenmo.interchange.onnx import write_onnx
from wenmo.interchange.pretrained import open_pretrained
from wenmo.models.base import LanguageModel
from wenmo.models.capabilities import HasLatents, capability
from wenmo.models.external import ExternalModel
from wenmo.models.ngram_config import NgramConfig
from wenmo.models.recurrent import Recurrent
from wenmo.models.recurrent_config import RecurrentConfig
from wenmo.models.seq2seq_config import Seq2seqConfig
from wenmo.models.state import join
from wenmo.models.transformer.config import TransformerConfig
from wenmo.models.transformer.presets import GPT2, MARIAN, MODERN
from wenmo.models.vae_config import VaeConfig
from wenmo.text.config import TokenizerConfig
from wenmo.text.pretrained import byte_level
from wenmo.text.tokenizers import Tokenizer
from wenmo.text.vocabularies import byte_alphabet
from wenmo.types import END, IGNORE, WenmoError

onnxruntime = pytest.importorskip("onnxruntime", reason="needs the onnxruntime package")
onnx = pytest.importorskip("onnx", reason="needs the onnx package")

POEM = "春眠不觉晓，处处闻啼鸟。夜来风雨声，花落知多少。\n"
TOKENIZER = Tokenizer.train([POEM], TokenizerConfig("characters"))
VOCAB = TOKENIZER.vocab_size
GROUPED = TransformerConfig(
    hidden_size=24, layers=2, heads=4, kv_heads=2, head_dim=10, context_length=48
)
SMALL: dict[str, Any] = {"hidden_size": 24, "layers": 1, "heads": 3, "context_length": 48}
BOTH = {**SMALL, "encoder_layers": 1, "ffn_size": 20}
RECURRENT = {"embedding_size": 8, "hidden_size": 12, "layers": 2}
CONFIGS = {
    "rnn": RecurrentConfig("rnn", **RECURRENT),
    "lstm": RecurrentConfig("lstm", **RECURRENT, tie_embeddings=True),
    "gru": RecurrentConfig("gru", **RECURRENT),
    "gpt, grouped heads": GROUPED,
    "gpt, window": replace(GROUPED, sliding_window=5),
    "gpt, window longer than what is recorded": replace(GROUPED, sliding_window=9),
    "gpt2": replace(GPT2, **SMALL),
    "transformer": replace(MODERN, **BOTH),
    "transformer, marian": replace(MARIAN, **BOTH),
    "vae": VaeConfig(latent_size=4, embedding_size=8, hidden_size=12, layers=2, context_length=48),
    "vae, transformer": VaeConfig(
        "transformer", "transformer", latent_size=4, hidden_size=24, heads=3, context_length=48
    ),
    "seq2seq": Seq2seqConfig(embedding_size=8, hidden_size=12, layers=2),
    "seq2seq, dot": Seq2seqConfig("lstm", 8, 12, attention="dot", input_feeding=False),
    "seq2seq, no attention": Seq2seqConfig("lstm", 8, 12, attention="none"),
    "seq2seq, copy": Seq2seqConfig("gru", 8, 12, attention="concat", coverage=1.0, copy=True),
}
every_kind = pytest.mark.parametrize("kind", CONFIGS)


@dataclass
class Written:
    """An exported folder, used only through ``model.json``."""

    folder: Path

    def __post_init__(self) -> None:
        self.about = json.loads((self.folder / "model.json").read_text("utf-8"))
        self.step = onnxruntime.InferenceSession(self.folder / "model.onnx")

    def initial_state(self, rows: int, given: Tensor | None = None) -> dict[str, Any]:
        if given is not None:
            about = self.about["latents"] or self.about["source"]
            graph = onnxruntime.InferenceSession(self.folder / about["file"])
            names = [output.name for output in graph.get_outputs()]
            [asked] = graph.get_inputs()
            return dict(zip(names, graph.run(None, {asked.name: given.numpy()}), strict=True))
        sizes = {"rows": rows, "past": 0}
        state = self.about["state"].items()
        return {n: np.zeros([sizes.get(s, s) for s in t["shape"]], t["type"]) for n, t in state}

    def read(self, tokens: Tensor, state: dict[str, Any]) -> tuple[Tensor, dict[str, Any]]:
        parts = []
        for piece in torch.split(tokens, self.about["tokens_at_once"] or tokens.shape[1], dim=1):
            logits, *after = self.step.run(None, {"tokens": piece.numpy(), **state})
            state = state | dict(zip(self.about["changed"], after, strict=True))
            parts.append(torch.from_numpy(logits))
        return torch.cat(parts, 1), state


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], tuple[Any, Written]]:
    """Returns a random model of a kind and its graphs, each exported once."""
    made: dict[str, tuple[Any, Written]] = {}

    def write(kind: str) -> tuple[Any, Written]:
        if kind not in made:
            folder: Path = tmp_path_factory.mktemp("onnx") / "model"
            model = random_model(CONFIGS[kind])
            write_onnx(folder, model, TOKENIZER, has_source=False)
            made[kind] = model, Written(folder)
        return made[kind]

    return write


def random_model(config: Any) -> Any:
    torch.manual_seed(0)
    model = config.build(VOCAB).eval()
    for weight in model.parameters():
        torch.nn.init.normal_(weight, std=0.5)
    return model


def some_ids(rows: int, time: int) -> Tensor:
    return torch.randint(1, VOCAB, (rows, time), generator=torch.Generator().manual_seed(rows))


def example_source(model: LanguageModel, rows: int) -> Tensor | None:
    """Sources of different lengths, or latents, or None, as the model needs."""
    if (latents := capability(model, HasLatents)) is not None:
        return torch.randn(rows, latents.latent_size, generator=torch.Generator().manual_seed(rows))
    if model.conditioning != "encoder":
        return None
    source = some_ids(rows, 6)
    for row in range(rows):
        source[row, 2 + row :] = IGNORE
    return source


@every_kind
@torch.no_grad()
def test_logits_match(kind: str, written: Callable[..., Any]) -> None:
    """For a prompt, single tokens and several tokens, with another batch size than traced."""
    model, graph = written(kind)
    for rows in (1, 4):
        given = example_source(model, rows)
        latents = capability(model, HasLatents)
        ours = latents.state_at(given) if latents else model.initial_state(rows, source=given)
        theirs = graph.initial_state(rows, given)
        ids = some_ids(rows, 12)
        for piece in torch.split(ids, [6, 1, 1, 3, 1], dim=1):
            expected, ours = model(piece, ours)
            logits, theirs = graph.read(piece, theirs)
            torch.testing.assert_close(logits, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("kind", ["gpt, grouped heads", "gpt, window", "gpt2"])
@torch.no_grad()
def test_rows_of_different_lengths(kind: str, written: Callable[..., Any]) -> None:
    """Rows are read separately, their caches padded to the longest, and continued together."""
    model, graph = written(kind)
    prompts = [some_ids(1, 7), some_ids(1, 2), some_ids(1, 4)]
    ours = join([model(prompt, model.initial_state(1))[1] for prompt in prompts])
    apart = [graph.read(prompt, graph.initial_state(1))[1] for prompt in prompts]
    theirs = {name: np.concatenate([grow_cache(s[name], 7) for s in apart]) for name in apart[0]}
    for token in torch.split(some_ids(3, 5), 1, dim=1):
        expected, ours = model(token, ours)
        given, theirs = graph.read(token, theirs)
        torch.testing.assert_close(given, expected, rtol=1e-4, atol=1e-4)


def grow_cache(array: Any, past: int) -> Any:
    if array.ndim < 2:
        return array
    return np.pad(array, [(0, 0), (0, past - array.shape[1]), (0, 0), (0, 0)])


@pytest.mark.parametrize("kind", ["gpt, window", "transformer", "seq2seq", "seq2seq, copy"])
def test_greedy_texts_match(kind: str, written: Callable[..., Any]) -> None:
    model, graph = written(kind)
    source = example_source(model, 1)
    answered = None if source is None else source[0, :2].tolist()
    sampling = Sampling(method="greedy", max_tokens=24)
    engine = AutoregressiveEngine(model)
    engine.submit(Request([7, 30], sampling, answered))
    expected = [event.token for event in engine.run()]
    if answered is not None:
        source = torch.tensor([[*answered, *graph.about["source"]["after"]]])
    logits, state = graph.read(
        torch.tensor([[*graph.about["text"]["before"], 7, 30]]), graph.initial_state(1, source)
    )
    ids = [int(logits[0, -1].argmax())]
    while ids[-1] != graph.about["end"] and len(ids) < 24:
        logits, state = graph.read(torch.tensor([ids[-1:]]), state)
        ids.append(int(logits[0, -1].argmax()))
    assert ids == expected
    assert len(set(ids)) > 2


@every_kind
def test_model_json_describes_the_graph(kind: str, written: Callable[..., Any]) -> None:
    """The checker passes; names, types and shapes match ``model.json``."""
    model, graph = written(kind)
    for path in graph.folder.glob("*.onnx"):
        onnx.checker.check_model(path, full_check=True)
        assert b"/wenmo/" not in path.read_bytes()  # no paths of this machine
    about = graph.about
    time = about["tokens_at_once"] or "time"
    state = {n: (f"tensor({ONNX[t['type']]})", t["shape"]) for n, t in about["state"].items()}
    inputs = {value.name: (value.type, value.shape) for value in graph.step.get_inputs()}
    assert inputs == {"tokens": ("tensor(int64)", ["rows", time]), **state}
    grown = {"past": f"past + {time}"}
    changed = {
        f"next.{name}": [grown.get(size, size) for size in about["state"][name]["shape"]]
        for name in about["changed"]
    }
    outputs = {value.name: value.shape for value in graph.step.get_outputs()}
    assert outputs == {"logits": ["rows", time, VOCAB], **changed}
    assert about["context"] == model.context
    steps = kind in ("seq2seq", "seq2seq, copy")  # each token waits for what the last one found
    assert (time == 1) == steps


ONNX = {"float32": "float", "int64": "int64", "bool": "bool"}


def test_export_does_not_change_the_model(tmp_path: Path) -> None:
    model = random_model(GROUPED)
    before = {name: weight.clone() for name, weight in model.state_dict().items()}
    expected, state = model(some_ids(2, 5), model.initial_state(2, capacity=9))
    write_onnx(tmp_path / "out", model, TOKENIZER, has_source=False)
    assert not model.training
    assert all(weight.requires_grad for weight in model.parameters())
    assert all(torch.equal(before[name], weight) for name, weight in model.state_dict().items())
    given, again = model(some_ids(2, 5), model.initial_state(2, capacity=9))
    assert torch.equal(given, expected)
    assert again["keys.0"].shape == state["keys.0"].shape == (2, 9, 2, 10)


def test_large_weights_are_external_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As for models above 2 GB, the limit of one file."""
    monkeypatch.setattr(graphs, "MAX_INLINE_BYTES", 1000)
    model = random_model(CONFIGS["gru"])
    write_onnx(tmp_path / "out", model, TOKENIZER, has_source=False)
    assert (tmp_path / "out" / "model.onnx.data").stat().st_size > 4000
    graph = Written(tmp_path / "out")
    ids = some_ids(2, 3)
    torch.testing.assert_close(graph.read(ids, graph.initial_state(2))[0], model(ids)[0].detach())


# -- models that others trained --------------------------------------------------------------------


def made(folder: Path, kind: str) -> Any:
    """Save a small random model with `transformers`."""
    import transformers

    marks = {"vocab_size": 259, "bos_token_id": 257, "eos_token_id": 258, "pad_token_id": 256}
    few: dict[str, Any] = {"num_hidden_layers": 2, "num_attention_heads": 4, "hidden_size": 32}
    t5 = {"d_model": 32, "d_kv": 8, "d_ff": 48, "num_layers": 2, "decoder_start_token_id": 256}
    settings = {
        "Llama": {**few, "num_key_value_heads": 2, "intermediate_size": 48},
        "T5": {**t5, "num_heads": 4},
    }[kind]
    config = getattr(transformers, f"{kind}Config")(**settings, **marks)
    suffix = {"Llama": "ForCausalLM", "T5": "ForConditionalGeneration"}
    torch.manual_seed(0)
    model = getattr(transformers, kind + suffix[kind])(config).eval()
    model.save_pretrained(folder)
    letters = {letter: id_ for id_, letter in enumerate(byte_alphabet())}
    special = {"<pad>": 256, "<s>": 257, "</s>": 258}
    byte_level({**letters, **special}, [], special=special).save(str(folder / "tokenizer.json"))
    return model


@pytest.mark.parametrize("kind", ["Llama", "T5"])
@torch.no_grad()
def test_graph_uses_ids_of_the_tokenizer_file(kind: str, tmp_path: Path) -> None:
    """Logits match `transformers`, although END is 0 here."""
    theirs = made(tmp_path / "made", kind)
    opened = open_pretrained(tmp_path / "made")
    write_onnx(tmp_path / "out", opened.model, opened.tokenizer, has_source=False)
    graph = Written(tmp_path / "out")
    assert graph.about["end"] == 258
    ids = torch.randint(256, (3, 9))
    ids[0, 3:5] = torch.tensor([258, 0])
    source = None if kind != "T5" else ids.flip(1).where(torch.arange(9) != 8, IGNORE)
    if source is None:
        assert graph.about["text"]["before"] == []
        expected = theirs(ids).logits
    else:
        assert graph.about["text"]["before"] == [256]
        read = {"input_ids": source.clamp_min(0), "attention_mask": source != IGNORE}
        expected = theirs(**read, decoder_input_ids=ids).logits
    first, state = graph.read(ids[:, :6], graph.initial_state(3, source))
    rest, _ = graph.read(ids[:, 6:], state)
    torch.testing.assert_close(torch.cat([first, rest], 1), expected, rtol=1e-4, atol=1e-4)


# -- commands --------------------------------------------------------------------------------------


def test_exported_run_writes_the_same_text(wenmo: Callable[..., Any], tmp_path: Path) -> None:
    from tokenizers import Tokenizer as Library

    (tmp_path / "my.txt").write_text(POEM * 60, encoding="utf-8")
    train = (
        "train",
        "my.txt",
        "--model",
        "gru",
        "--out",
        "run",
        "--steps",
        40,
        "ngram_prior.enabled=false",
    )
    wenmo(
        *train,
        "embedding_size=16",
        "hidden_size=32",
        "learning_rate=0.03",
        "batch_size=4",
        "sequence_length=32",
        cwd=tmp_path,
    )
    wenmo("export", "run", "--to", "onnx", "--out", "graph", cwd=tmp_path)
    asked = ("--prompt", "春眠", "--method", "greedy", "--max-tokens", 20, "--json")
    message = json.loads(wenmo("generate", "run", *asked, cwd=tmp_path).stdout)["outputs"][0]

    graph = Written(tmp_path / "graph")
    library = Library.from_file(str(tmp_path / "graph" / "tokenizer.json"))
    tokens = [*graph.about["text"]["before"], *library.encode("春眠").ids]
    state, written = graph.initial_state(1), []
    while len(written) < 20:
        logits, state = graph.read(torch.tensor([tokens]), state)
        tokens = [int(logits[0, -1].argmax())]
        written += tokens
    assert library.decode(written) == message["text"]
    assert message["text"].startswith("不觉晓")


def test_errors_for_unsupported_runs(
    wenmo: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "my.txt").write_text(POEM * 60, encoding="utf-8")
    small = ("--steps", 2, "embedding_size=8", "hidden_size=8", "batch_size=2", "sequence_length=8")
    runs = {
        "--to arpa": ("--model", "ngram", "order=2"),
        "--prior none": ("--model", "gru", "--prior", "ngram", *small),
    }
    for number, (advice, settings) in enumerate(runs.items()):
        wenmo("train", "my.txt", *settings, "--out", number, cwd=tmp_path)
        export = ("export", number, "--to", "onnx", "--out", "graph")
        message = wenmo(*export, cwd=tmp_path, code=2).stderr
        assert advice in message
        assert "Traceback" not in message
    monkeypatch.setattr(graphs, "find_spec", lambda _: None)
    with pytest.raises(WenmoError, match=r'the package onnx: pip install "wenmo\[onnx\]"'):
        write_onnx(tmp_path / "graph", random_model(GROUPED), TOKENIZER, has_source=False)
    assert not (tmp_path / "graph").exists()


def test_unsupported_models_are_refused(tmp_path: Path) -> None:
    narrow = replace(GROUPED, context_length=4).build(VOCAB)
    for model, match in (
        (ExternalModel(torch.nn.Identity(), VOCAB, 9, END), "reads the whole text again"),
        (NgramConfig(order=2).build(VOCAB), "--to arpa"),
        (narrow, "a context of at least 8"),
    ):
        with pytest.raises(WenmoError, match=match):
            write_onnx(tmp_path / "graph", model, TOKENIZER, has_source=False)
    assert not list(tmp_path.iterdir())


class BatchDependent(Recurrent):
    """Its logits depend on the batch size."""

    def lm_head(self, reading: Any) -> Tensor:
        return super().lm_head(reading) * len(reading[0])


class NonzeroInitialState(Recurrent):
    """Its initial state is not zero."""

    def initial_state(self, rows: int, **rest: Any) -> Any:
        return {name: tensor + 1 for name, tensor in super().initial_state(rows, **rest).items()}


def test_wrong_graph_is_not_written(tmp_path: Path) -> None:
    config = RecurrentConfig("gru", **RECURRENT)
    with pytest.raises(RuntimeError, match="does not compute what the model does"):
        write_onnx(tmp_path / "out", BatchDependent(config, VOCAB), TOKENIZER, has_source=False)
    with pytest.raises(WenmoError, match="needs an initial state of zeros"):
        write_onnx(
            tmp_path / "out", NonzeroInitialState(config, VOCAB), TOKENIZER, has_source=False
        )
    assert not list(tmp_path.iterdir())

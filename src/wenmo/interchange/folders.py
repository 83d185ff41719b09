"""Models in folders as the Hugging Face hub keeps them: settings, weights and the end mark; those
of kinds that are not known here through the ``transformers`` package.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer as Library
from torch import Tensor

from wenmo.files import read_json
from wenmo.interchange.layouts import KINDS, Layout, in_one_embedding
from wenmo.interchange.marks import end_of, put_marks
from wenmo.interchange.names import names_of
from wenmo.interchange.opened import Opened, built, check_sizes
from wenmo.interchange.vocabulary_files import read_beginning, read_template, read_vocabulary
from wenmo.models import foreign
from wenmo.models.foreign import Foreign
from wenmo.training.checkpoints import load_tensors
from wenmo.types import WenmoError

CONFIG, INDEX = "config.json", "model.safetensors.index.json"
BOUNDS = ("max_position_embeddings", "max_decoder_position_embeddings")
MASKS = ("[MASK]", "<mask>")


def open_folder(path: Path) -> Opened:
    """The model, the tokenizer and the chat template of a folder.

    Raises:
        WenmoError: it is damaged, or of a kind that is not known here.
    """
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
    check_sizes(path, config, size, tensors.get(kind.names["embedding.weight"]), len(tensors))
    vocabulary = read_vocabulary(path, str(theirs["model_type"]))
    end = end_of(path, theirs, vocabulary.library)
    if end is None and kind.names.get("bias") in tensors:
        end, size = size, size + 1
        _add_token(kind.names, tensors)
    beginning = read_beginning(path, theirs, vocabulary.library)
    tokenizer = vocabulary.tokenizer(_known(path, end), size, beginning)
    if kind.family == "masked":
        tensors = in_one_embedding(tensors, kind, _mask_of(path, vocabulary.library))
    if config.tied and not _is_tied(kind.names, tensors):
        config = replace(config, tied=False)  # whatever the settings say
    layout = Layout(names_of(kind.names, config, size), {}, tokenizer.end)
    model = built(path, config, layout, size, tensors)
    if model.fills:
        model.closing = tuple(tokenizer.suffix)
    put_marks(path, theirs, model, tokenizer)
    template = read_template(path)
    return Opened(kind.family, config, model, tokenizer, template)


def _open_foreign(path: Path, theirs: dict[str, Any]) -> Opened:
    """A model of a kind that is not known here, through the ``transformers`` package."""
    known = f"not known here (known: {', '.join(KINDS)})"
    kind = theirs.get("model_type")
    try:
        import transformers
    except ImportError:
        raise WenmoError(
            f"{path / CONFIG}: model_type {kind!r} is {known}; with pip install transformers, "
            "causal and sequence-to-sequence ones run, slowly"
        ) from None
    _weights_of(path)  # no pickle is read
    answers = bool(theirs.get("is_encoder_decoder"))
    auto = transformers.AutoModelForSeq2SeqLM if answers else transformers.AutoModelForCausalLM
    try:
        inner = auto.from_pretrained(
            path, local_files_only=True, trust_remote_code=False, use_safetensors=True
        )
    except Exception as error:  # of many kinds
        reason = " ".join(str(error).split())[:160]
        raise WenmoError(
            f"{path / CONFIG}: model_type {kind!r} is {known}, and transformers says: {reason}"
        ) from None
    size, vocabulary = int(inner.config.vocab_size), read_vocabulary(path, str(kind))
    end = _known(path, end_of(path, theirs, vocabulary.library))
    bounds = (getattr(inner.config, name, None) for name in BOUNDS)
    context = next((bound for bound in bounds if bound is not None), None)
    beginning = read_beginning(path, theirs, vocabulary.library)
    tokenizer = vocabulary.tokenizer(end, size, beginning)
    model = Foreign(inner, size, context, end, answers=answers).eval()
    model.opening = ()
    put_marks(path, theirs, model, tokenizer)
    note = f"a {kind} is not known here: it runs through transformers, which is the slow way"
    config, family = foreign.Config(str(kind)), "transformer" if answers else "gpt"
    return Opened(family, config, model, tokenizer, read_template(path), note)


def _mask_of(path: Path, library: Library) -> int:
    """The id of the mark that hides a token."""
    marks = (library.token_to_id(mark) for mark in MASKS)
    found = next((id_ for id_ in marks if id_ is not None), None)
    if found is None:
        raise WenmoError(f"{path}: the tokenizer has no mask: {' or '.join(MASKS)}")
    return found


def _is_tied(names: Mapping[str, str], tensors: Mapping[str, Tensor]) -> bool:
    """Whether the softmax has no weights of its own, or only a copy of the embedding's."""
    head = tensors.get(names["head.weight"])
    embedding = tensors.get(names["embedding.weight"])
    if head is None or embedding is None:
        return head is None
    return torch.equal(head, embedding[: len(head)])  # a masked model's has a row more


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


def _known(path: Path, end: int | None) -> int:
    if end is None:
        raise WenmoError(f"{path / CONFIG}: eos_token_id is missing")
    return end


def _add_token(names: Mapping[str, str], tensors: dict[str, Tensor]) -> None:
    """Give a model whose texts never end one token more, so that it can learn to end them.

    Its logit is the mean of all others less 10, so that its probability is below exp(-10) / tokens.
    """
    for ours, less in (("embedding.weight", 0.0), ("head.weight", 0.0), ("bias", 10.0)):
        if (name := names[ours]) in tensors:
            weight = tensors[name].float()
            tensors[name] = torch.cat([weight, weight.mean(0, keepdim=True) - less])

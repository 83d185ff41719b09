"""Models in folders as the Hugging Face hub keeps them: settings, weights and the end mark."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import torch
from tokenizers import Tokenizer as Library
from torch import Tensor

from wenmo.files import read_json
from wenmo.interchange.external_config import SCHEMAS, UnsupportedSettingError
from wenmo.interchange.float8 import block_of, dequantize
from wenmo.interchange.generation import read_sampling, with_defaults
from wenmo.interchange.layouts import KINDS, Layout, in_one_embedding
from wenmo.interchange.marks import end_of, joined_notes, known_end, put_marks
from wenmo.interchange.names import names_of
from wenmo.interchange.opened import LoadedModel, built, check_sizes
from wenmo.interchange.stored_weights import check_all_used, read_weights, with_prefix
from wenmo.interchange.through_transformers import CONFIG, open_through_transformers
from wenmo.interchange.vocabulary_files import read_beginning, read_template, read_vocabulary
from wenmo.models.capabilities import Infills, has_capability
from wenmo.types import WenmoError

MASKS = ("[MASK]", "<mask>")


def open_folder(path: Path) -> LoadedModel:
    """The model, the tokenizer and the chat template of a folder. What is not supported here runs
    through the ``transformers`` package, if that is there.

    Raises:
        WenmoError: it is damaged, or not supported.
    """
    content = read_json(path / CONFIG)
    kind = KINDS.get(str(content.get("model_type")))
    if kind is None:
        known = f"not known here (known: {', '.join(KINDS)})"
        return open_through_transformers(
            path, content, f"model_type {content.get('model_type')!r} is {known}"
        )
    settings = {name: value for name, value in content.items() if name != "quantization_config"}
    try:
        config = kind.config_of(settings)
        block = block_of(content.get("quantization_config"))
        theirs = with_defaults(path, settings, SCHEMAS[content["model_type"]].defaults)
        size = int(theirs["vocab_size"])
    except UnsupportedSettingError as error:
        if kind.family == "masked":
            raise WenmoError(f"{path / CONFIG}: {error}") from None
        return open_through_transformers(path, content, str(error))
    except KeyError as error:
        raise WenmoError(f"{path / CONFIG}: {error} is missing") from None
    except (AttributeError, TypeError, ValueError, WenmoError) as error:
        raise WenmoError(f"{path / CONFIG}: {error}") from None
    tensors = dequantize(path, with_prefix(read_weights(path), kind), block)
    check_sizes(path, config, size, tensors.get(kind.names["embedding.weight"]), len(tensors))
    vocabulary = read_vocabulary(path, str(theirs["model_type"]))
    end = end_of(path, theirs, vocabulary.library)
    if end is None and kind.names.get("bias") in tensors:
        end, size = size, size + 1
        _add_token(kind.names, tensors)
    beginning = read_beginning(path, theirs, vocabulary.library)
    tokenizer = vocabulary.tokenizer(known_end(path / CONFIG, end), size, beginning)
    if kind.family == "masked":
        tensors = in_one_embedding(tensors, kind, _mask_of(path, vocabulary.library))
    if config.tie_embeddings and not _is_tied(kind.names, tensors):
        config = replace(config, tie_embeddings=False)  # whatever the settings say
    layout = Layout(names_of(kind.names, config, size), {}, tokenizer.end)
    check_all_used(path, tensors, layout.names.values(), kind)
    model = built(path, config, layout, size, tensors)
    if has_capability(model, Infills):
        suffix = tuple(tokenizer.suffix)
        model.special_tokens = replace(model.special_tokens, source_suffix=suffix)
    put_marks(path, theirs, model, tokenizer)
    return LoadedModel(
        kind.family,
        config,
        model,
        tokenizer,
        read_template(path),
        note=joined_notes(path),
        sampling=read_sampling(path, theirs),
    )


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


def _add_token(names: Mapping[str, str], tensors: dict[str, Tensor]) -> None:
    """Give a model whose texts never end one token more, so that it can learn to end them.

    Its logit is the mean of all others less 10, so that its probability is below exp(-10) / tokens.
    """
    for ours, less in (("embedding.weight", 0.0), ("head.weight", 0.0), ("bias", 10.0)):
        if (name := names[ours]) in tensors:
            weight = tensors[name].float()
            tensors[name] = torch.cat([weight, weight.mean(0, keepdim=True) - less])

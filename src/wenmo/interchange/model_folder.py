"""Load models from folders in the format of the Hugging Face hub."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer as Library
from torch import Tensor

from wenmo.files import read_json
from wenmo.interchange.external_config import SCHEMAS, UnsupportedSettingError
from wenmo.interchange.float8 import dequantize, read_block_size
from wenmo.interchange.generation import read_sampling, with_defaults
from wenmo.interchange.layouts import ARCHITECTURES, Architecture, Layout, merge_masked_embeddings
from wenmo.interchange.loaded_model import LoadedModel, build_model, check_sizes
from wenmo.interchange.special_tokens import (
    end_token_id,
    join_notes,
    require_end,
    set_special_tokens,
)
from wenmo.interchange.tokenizer_files import read_begin_token, read_chat_template, read_vocabulary
from wenmo.interchange.transformers_fallback import CONFIG, open_through_transformers
from wenmo.interchange.weight_names import weight_names
from wenmo.interchange.weights import check_all_used, normalize_names, read_weights
from wenmo.models.capabilities import Infills, has_capability
from wenmo.models.transformer.config import TransformerConfig
from wenmo.types import WenmoError

MASK_TOKENS = ("[MASK]", "<mask>")


def open_folder(path: Path) -> LoadedModel:
    """Load the model, the tokenizer and the chat template of a folder.

    Models that are not supported here run through the ``transformers`` package, if it is installed.

    Raises:
        WenmoError: the folder is damaged, or the model is not supported.
    """
    content = read_json(path / CONFIG)
    architecture = ARCHITECTURES.get(str(content.get("model_type")))
    if architecture is None:
        supported = f"not supported here (supported: {', '.join(ARCHITECTURES)})"
        reason = f"model_type {content.get('model_type')!r} is {supported}"
        return open_through_transformers(path, content, reason)
    raw = {name: value for name, value in content.items() if name != "quantization_config"}
    try:
        config = architecture.config_of(raw)
        block_size = read_block_size(content.get("quantization_config"))
        settings = with_defaults(path, raw, SCHEMAS[content["model_type"]].defaults)
        settings["vocab_size"] = int(settings["vocab_size"])
    except UnsupportedSettingError as error:
        if architecture.family == "masked":
            raise WenmoError(f"{path / CONFIG}: {error}") from None
        return open_through_transformers(path, content, str(error))
    except KeyError as error:
        raise WenmoError(f"{path / CONFIG}: {error} is missing") from None
    except (AttributeError, TypeError, ValueError, WenmoError) as error:
        raise WenmoError(f"{path / CONFIG}: {error}") from None
    return _load(path, architecture, config, settings, block_size)


def _load(
    path: Path,
    architecture: Architecture,
    config: TransformerConfig,
    settings: dict[str, Any],
    block_size: tuple[int, int] | None,
) -> LoadedModel:
    """Load a model of a supported architecture; ``settings`` include the defaults."""
    names, size = architecture.weight_names, settings["vocab_size"]
    tensors = dequantize(path, normalize_names(read_weights(path), architecture), block_size)
    check_sizes(path, config, size, tensors.get(names["embedding.weight"]), len(tensors))
    vocabulary = read_vocabulary(path, str(settings["model_type"]))
    end = end_token_id(path, settings, vocabulary.library)
    if end is None and names.get("bias") in tensors:
        end, size = size, size + 1
        _add_end_token(names, tensors)
    begin_token = read_begin_token(path, settings, vocabulary.library)
    tokenizer = vocabulary.tokenizer(require_end(path / CONFIG, end), size, begin_token)
    if architecture.family == "masked":
        mask = _mask_token_id(path, vocabulary.library)
        tensors = merge_masked_embeddings(tensors, architecture, mask)
    if config.tie_embeddings and not _is_tied(names, tensors):
        config = replace(config, tie_embeddings=False)  # even if the settings say true
    layout = Layout(weight_names(names, config, size), {}, tokenizer.end)
    check_all_used(path, tensors, layout.names.values(), architecture)
    model = build_model(path, config, layout, size, tensors)
    if has_capability(model, Infills):
        suffix = tuple(tokenizer.suffix)
        model.special_tokens = replace(model.special_tokens, source_suffix=suffix)
    set_special_tokens(path, settings, model, tokenizer)
    return LoadedModel(
        architecture.family,
        config,
        model,
        tokenizer,
        read_chat_template(path),
        note=join_notes(path),
        sampling=read_sampling(path, settings),
    )


def _mask_token_id(path: Path, library: Library) -> int:
    """The id of the mask token."""
    candidates = (library.token_to_id(token) for token in MASK_TOKENS)
    found = next((id_ for id_ in candidates if id_ is not None), None)
    if found is None:
        raise WenmoError(f"{path}: the tokenizer has no mask token: {' or '.join(MASK_TOKENS)}")
    return found


def _is_tied(weight_names: Mapping[str, str], tensors: Mapping[str, Tensor]) -> bool:
    """Whether the output layer has no weights, or only a copy of the embedding."""
    lm_head = tensors.get(weight_names["head.weight"])
    embedding = tensors.get(weight_names["embedding.weight"])
    if lm_head is None or embedding is None:
        return lm_head is None
    # A masked model's embedding has one more row.
    return torch.equal(lm_head, embedding[: len(lm_head)])


def _add_end_token(weight_names: Mapping[str, str], tensors: dict[str, Tensor]) -> None:
    """Add an end-of-text token to a model without one, so that training can teach it to end texts.

    Its logit is the mean of all others minus 10: a probability below exp(-10) / vocab_size.
    """
    for internal_name, offset in (("embedding.weight", 0.0), ("head.weight", 0.0), ("bias", 10.0)):
        if (name := weight_names[internal_name]) in tensors:
            weight = tensors[name].float()
            tensors[name] = torch.cat([weight, weight.mean(0, keepdim=True) - offset])

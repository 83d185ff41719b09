"""Run models that are not supported natively through the ``transformers`` package.

This is slow, and such models cannot be trained.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from wenmo.interchange.external_config import SCHEMAS, UnsupportedSettingError
from wenmo.interchange.generation import TOKEN_ID_KEYS, read_sampling
from wenmo.interchange.loaded_model import LoadedModel
from wenmo.interchange.special_tokens import (
    end_token_id,
    join_notes,
    require_end,
    set_special_tokens,
)
from wenmo.interchange.tokenizer_files import read_begin_token, read_chat_template, read_vocabulary
from wenmo.interchange.weights import read_weights
from wenmo.models.external import ExternalConfig, ExternalModel
from wenmo.types import WenmoError

CONFIG = "config.json"
# Settings that transformers reads but that are not among the attributes of its config classes.
UNLISTED_SETTINGS = {"rope_scaling", "rope_theta", "partial_rotary_factor", "quantization_config"}
CONTEXT_KEYS = ("max_position_embeddings", "max_decoder_position_embeddings")


def open_through_transformers(path: Path, content: dict[str, Any], reason: str) -> LoadedModel:
    """Load a causal or sequence-to-sequence model with ``transformers``.

    Args:
        path: the model's folder.
        content: the content of its ``config.json``.
        reason: why it is not supported natively, for messages.

    Raises:
        WenmoError: transformers is not installed, or cannot load the model.
    """
    try:
        import transformers
    except ImportError:
        raise WenmoError(
            f"{path / CONFIG}: {reason}; causal and sequence-to-sequence models run, slowly, after "
            "pip install transformers"
        ) from None
    read_weights(path)  # raises an error for pickled weights
    try:
        hf_model, has_encoder = _load(transformers, path, content)
    except UnsupportedSettingError as error:
        raise WenmoError(f"{path / CONFIG}: {error}") from None
    except Exception as error:  # transformers raises many types
        message = " ".join(str(error).split())[:160]
        raise WenmoError(f"{path / CONFIG}: {reason}, and transformers says: {message}") from None
    size, model_type = int(hf_model.config.vocab_size), str(content.get("model_type"))
    vocabulary = read_vocabulary(path, model_type)
    settings = {
        name: value for name, value in hf_model.config.to_dict().items() if name in TOKEN_ID_KEYS
    }
    settings = content | settings | {"vocab_size": size}
    end = require_end(path / CONFIG, end_token_id(path, settings, vocabulary.library))
    contexts = (getattr(hf_model.config, name, None) for name in CONTEXT_KEYS)
    context = next((length for length in contexts if length is not None), None)
    tokenizer = vocabulary.tokenizer(
        end, size, read_begin_token(path, settings, vocabulary.library)
    )
    model = ExternalModel(hf_model, size, context, end, has_encoder=has_encoder).eval()
    model.special_tokens = replace(model.special_tokens, bos=())
    set_special_tokens(path, settings, model, tokenizer)
    family = "transformer" if has_encoder else "gpt"
    return LoadedModel(
        family,
        ExternalConfig(model_type),
        model,
        tokenizer,
        read_chat_template(path),
        note=join_notes(path, f"{reason}: it runs through transformers, which is slow"),
        sampling=read_sampling(path, settings),
    )


def _load(transformers: Any, path: Path, content: dict[str, Any]) -> tuple[Any, bool]:
    """The model in float32, and whether it has an encoder.

    Raises:
        UnsupportedSettingError: a setting is not known.
        WenmoError: a weight is missing or not used.
    """
    options = {"local_files_only": True, "trust_remote_code": False}
    config = transformers.AutoConfig.from_pretrained(path, **options)
    _check_known_settings(config, content)
    has_encoder = bool(config.is_encoder_decoder)
    model_class = (
        transformers.AutoModelForSeq2SeqLM if has_encoder else transformers.AutoModelForCausalLM
    )
    transformers.utils.logging.disable_progress_bar()
    hf_model, loading_info = model_class.from_pretrained(
        path, use_safetensors=True, output_loading_info=True, **options
    )
    for name in ("missing_keys", "unexpected_keys", "mismatched_keys"):
        if loading_info.get(name):
            raise WenmoError(f"{name.replace('_', ' ')}: {sorted(map(str, loading_info[name]))[0]}")
    return hf_model.float(), has_encoder


def _check_known_settings(config: Any, content: dict[str, Any]) -> None:
    """Check that ``transformers``, which accepts any name, ignores no setting.

    Only architectures with a schema are checked.
    """
    schema = SCHEMAS.get(str(content.get("model_type")))
    if schema is None:
        return
    known = type(config)().to_dict().keys() | type(config).attribute_map.keys() | UNLISTED_SETTINGS
    for name, value in content.items():
        if name not in known and not schema.allows(name, value):
            raise UnsupportedSettingError(
                f"{name} is a setting that neither wenmo nor transformers knows: if it has no "
                "effect on the model's output, remove it from the file"
            )

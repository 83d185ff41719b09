"""Models of kinds and with settings that are not supported here, run by ``transformers``.

That is slow, and such models are not trained here.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from wenmo.interchange.external_config import SCHEMAS, UnsupportedSettingError
from wenmo.interchange.generation import MARKS, read_sampling
from wenmo.interchange.marks import end_of, joined_notes, known_end, put_marks
from wenmo.interchange.opened import LoadedModel
from wenmo.interchange.stored_weights import read_weights
from wenmo.interchange.vocabulary_files import read_beginning, read_template, read_vocabulary
from wenmo.models.external import ExternalConfig, Foreign
from wenmo.types import WenmoError

CONFIG = "config.json"
# Settings that transformers reads and that its defaults do not show.
ELSEWHERE = {"rope_scaling", "rope_theta", "partial_rotary_factor", "quantization_config"}
BOUNDS = ("max_position_embeddings", "max_decoder_position_embeddings")


def open_through_transformers(path: Path, content: dict[str, Any], reason: str) -> LoadedModel:
    """A causal or sequence-to-sequence model that is not opened here.

    Args:
        path: its folder.
        content: of its ``config.json``.
        reason: why it is not opened here.

    Raises:
        WenmoError: transformers is not installed, or refuses it.
    """
    try:
        import transformers
    except ImportError:
        raise WenmoError(
            f"{path / CONFIG}: {reason}; with pip install transformers, causal and "
            "sequence-to-sequence ones run, slowly"
        ) from None
    read_weights(path)  # no pickle is read
    try:
        inner, answers = _loaded(transformers, path, content)
    except UnsupportedSettingError as error:
        raise WenmoError(f"{path / CONFIG}: {error}") from None
    except Exception as error:  # of many kinds
        said = " ".join(str(error).split())[:160]
        raise WenmoError(f"{path / CONFIG}: {reason}, and transformers says: {said}") from None
    size, kind = int(inner.config.vocab_size), str(content.get("model_type"))
    vocabulary = read_vocabulary(path, kind)
    theirs = {name: value for name, value in inner.config.to_dict().items() if name in MARKS}
    theirs = content | theirs | {"vocab_size": size}
    end = known_end(path / CONFIG, end_of(path, theirs, vocabulary.library))
    bounds = (getattr(inner.config, name, None) for name in BOUNDS)
    context = next((bound for bound in bounds if bound is not None), None)
    tokenizer = vocabulary.tokenizer(end, size, read_beginning(path, theirs, vocabulary.library))
    model = Foreign(inner, size, context, end, answers=answers).eval()
    model.special_tokens = replace(model.special_tokens, bos=())
    put_marks(path, theirs, model, tokenizer)
    family = "transformer" if answers else "gpt"
    return LoadedModel(
        family,
        ExternalConfig(kind),
        model,
        tokenizer,
        read_template(path),
        note=joined_notes(path, f"{reason}: it runs through transformers, which is the slow way"),
        sampling=read_sampling(path, theirs),
    )


def _loaded(transformers: Any, path: Path, content: dict[str, Any]) -> tuple[Any, bool]:
    """The model in float32, and whether it answers to a source.

    Raises:
        UnsupportedSettingError: a setting is known neither there nor here.
        WenmoError: a weight is not used, or not found.
    """
    local = {"local_files_only": True, "trust_remote_code": False}
    config = transformers.AutoConfig.from_pretrained(path, **local)
    _check_known(config, content)
    answers = bool(config.is_encoder_decoder)
    auto = transformers.AutoModelForSeq2SeqLM if answers else transformers.AutoModelForCausalLM
    transformers.utils.logging.disable_progress_bar()
    inner, about = auto.from_pretrained(
        path, use_safetensors=True, output_loading_info=True, **local
    )
    for name in ("missing_keys", "unexpected_keys", "mismatched_keys"):
        if about.get(name):
            raise WenmoError(f"{name.replace('_', ' ')}: {sorted(map(str, about[name]))[0]}")
    return inner.float(), answers


def _check_known(config: Any, content: dict[str, Any]) -> None:
    """Make sure that transformers ignores no setting of a kind that is known here: it takes any
    name, and looks at those that it knows.
    """
    schema = SCHEMAS.get(str(content.get("model_type")))
    if schema is None:
        return
    known = type(config)().to_dict().keys() | type(config).attribute_map.keys() | ELSEWHERE
    for name, value in content.items():
        if name not in known and not schema.allows(name, value):
            raise UnsupportedSettingError(
                f"{name} is a setting that is known neither here nor to transformers: if what the "
                "model computes does not depend on it, remove it from the file"
            )

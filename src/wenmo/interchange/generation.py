"""Default sampling settings of an external model: its ``generation_config.json`` or, if there is
none, the generation settings in its ``config.json``.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from wenmo.config import from_dict
from wenmo.decoding.params import Sampling
from wenmo.files import read_json

GENERATION = "generation_config.json"
TOKEN_ID_KEYS = (
    "bos_token_id",
    "eos_token_id",
    "pad_token_id",
    "decoder_start_token_id",
    "forced_bos_token_id",
)
# Names of generation settings in transformers, and the corresponding names in `Sampling`.
SETTING_NAMES = {
    "temperature": "temperature",
    "top_k": "top_k",
    "top_p": "top_p",
    "min_p": "min_p",
    "typical_p": "typical_p",
    "epsilon_cutoff": "epsilon_cutoff",
    "eta_cutoff": "eta_cutoff",
    "repetition_penalty": "repetition_penalty",
    "no_repeat_ngram_size": "no_repeat_ngram",
    "max_new_tokens": "max_tokens",
}
# The defaults of transformers with ``do_sample``.
TRANSFORMERS_SAMPLING = {"method": "sample", "temperature": 1.0, "top_k": 50}
# For models with a chat template but without sampling settings: accuracy matters more than variety.
CHAT_SAMPLING = {"method": "sample", "temperature": 0.2, "top_p": 0.9}
SAMPLING_KEYS = (
    *("temperature", "top_k", "top_p", "min_p", "typical_p", "epsilon_cutoff", "eta_cutoff"),
)
# Unsupported settings that change the output, with the values that have no effect.
UNSUPPORTED: dict[str, tuple[Any, ...]] = {
    "penalty_alpha": (0,),  # without a top_k
    "encoder_repetition_penalty": (1,),
    "encoder_no_repeat_ngram_size": (0,),
    "exponential_decay_length_penalty": (),
    "begin_suppress_tokens": ([],),
    "force_words_ids": (),
    "sequence_bias": (),
    "guidance_scale": (1,),
    "stop_strings": (),
    "dola_layers": (),
    "watermarking_config": (),
}


def read_generation(path: Path) -> dict[str, Any]:
    """The content of a folder's ``generation_config.json``; empty if there is none."""
    return read_json(path / GENERATION) if (path / GENERATION).is_file() else {}


def with_defaults(
    path: Path, settings: Mapping[str, Any], defaults: Mapping[str, Any]
) -> dict[str, Any]:
    """``settings``, with defaults for what is in neither them nor ``generation_config.json``."""
    specified = settings.keys() | read_generation(path).keys()
    return {
        **{name: value for name, value in defaults.items() if name not in specified},
        **settings,
    }


def read_sampling(path: Path, config: Mapping[str, Any]) -> dict[str, Any]:
    """The default sampling settings of a folder's model, by their names in `Sampling`.

    Args:
        config: the content of its ``config.json``.

    Raises:
        WenmoError: a value is out of range.
    """
    if (path / GENERATION).is_file():
        return parse_sampling(read_generation(path), str(path / GENERATION))
    return parse_sampling(config, str(path / "config.json"))


def parse_sampling(settings: Mapping[str, Any], source: str) -> dict[str, Any]:
    """Convert generation settings to settings of `Sampling`, and check their ranges.

    Args:
        source: the file that they come from, for error messages.

    Raises:
        WenmoError: a value is out of range.
    """
    sampling = from_generation_config(settings)
    from_dict(Sampling, sampling, prefix=source)
    return sampling


def from_generation_config(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Convert generation settings to settings of `Sampling`.

    If ``do_sample`` is missing, any sampling setting, such as ``top_p``, means sampling.
    """
    given = {name: value for name, value in settings.items() if value is not None}
    sampling = {internal: given[name] for name, internal in SETTING_NAMES.items() if name in given}
    num_beams, do_sample = given.get("num_beams", 1), given.get("do_sample")
    if do_sample and num_beams > 1:
        return TRANSFORMERS_SAMPLING | _beam(given) | {"method": "beam-sample"} | sampling
    if do_sample:
        return TRANSFORMERS_SAMPLING | sampling
    if num_beams == 1 and given.get("penalty_alpha", 0) > 0 and given.get("top_k", 0) > 1:
        kept = {
            name: value
            for name, value in sampling.items()
            if name == "top_k" or name not in SAMPLING_KEYS
        }
        return {"method": "contrastive", "penalty_alpha": given["penalty_alpha"], **kept}
    if do_sample is None and num_beams == 1:
        has_sampling_keys = any(name in given for name in SAMPLING_KEYS)
        return {"method": "sample", **sampling} if has_sampling_keys else sampling
    sampling = {name: value for name, value in sampling.items() if name not in SAMPLING_KEYS}
    if num_beams == 1:
        return {"method": "greedy", **sampling}
    beam = _beam(given) | {"method": "beam"}
    if (groups := given.get("num_beam_groups", 1)) > 1:
        beam |= {"beam_groups": groups, "diversity_penalty": given.get("diversity_penalty", 0.0)}
    return beam | sampling


def _beam(given: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of a beam. When it stops is left to the exact rule, which finds better texts."""
    penalty = float(given.get("length_penalty", 1))
    return {"beam_width": given["num_beams"], "length_penalty": min(max(penalty, 0.0), 10.0)}


def to_generation_config(sampling: Mapping[str, Any]) -> dict[str, Any]:
    """Settings of `Sampling` as generation settings; inverse of `from_generation_config`."""
    names = {
        internal: external
        for external, internal in SETTING_NAMES.items()
        if internal != "max_tokens"
    }
    given = {names[name]: value for name, value in sampling.items() if name in names}
    method = sampling.get("method", "sample")
    if method in ("sample", "stochastic-beam"):
        return {"do_sample": True, "top_k": 0, **given}
    deterministic = {name: value for name, value in given.items() if name not in SAMPLING_KEYS}
    if method not in ("beam", "beam-sample"):
        return {"do_sample": False, **deterministic}
    beam = {"num_beams": sampling["beam_width"], "length_penalty": sampling["length_penalty"]}
    if method == "beam-sample":
        return {"do_sample": True, "top_k": 0, **beam, **given}
    return {"do_sample": False, **beam, **deterministic}


def unsupported_note(path: Path) -> str | None:
    """One line with the generation settings of a folder that are not supported; None: all are."""
    settings = read_generation(path)
    used = from_generation_config(settings).keys()
    unsupported = [
        name
        for name, value in settings.items()
        if name in UNSUPPORTED and name not in used and value not in (None, *UNSUPPORTED[name])
    ]
    return (
        f"{GENERATION}: {', '.join(unsupported)}: not supported here, and not used"
        if unsupported
        else None
    )

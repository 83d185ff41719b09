"""How the makers of a model would have texts written: its ``generation_config.json``, or, where
there is none, the settings of that kind in its ``config.json``.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from wenmo.config import from_dict
from wenmo.decoding.params import Sampling
from wenmo.files import read_json

GENERATION = "generation_config.json"
MARKS = (
    "bos_token_id",
    "eos_token_id",
    "pad_token_id",
    "decoder_start_token_id",
    "forced_bos_token_id",
)
# Their settings and ours.
SAMPLING = {
    "temperature": "temperature",
    "top_k": "top_k",
    "top_p": "top_p",
    "min_p": "min_p",
    "typical_p": "typical_p",
    "repetition_penalty": "repetition_penalty",
    "no_repeat_ngram_size": "no_repeat_ngram",
    "max_new_tokens": "max_tokens",
}
# What transformers adds where a file asks for drawing and says no more.
DRAWN = {"method": "sample", "temperature": 1.0, "top_k": 50}
# For models that were taught to answer (they have a chat template) and whose makers say nothing of
# drawing: an answer is to be right rather than new.
CAREFUL = {"method": "sample", "temperature": 0.2, "top_p": 0.9}
DRAWING = ("temperature", "top_k", "top_p", "min_p", "typical_p")
# Settings that change what is written and are not supported, with the values that change nothing.
UNSUPPORTED: dict[str, tuple[Any, ...]] = {
    "penalty_alpha": (0,),
    "num_beam_groups": (1,),
    "diversity_penalty": (0,),
    "encoder_repetition_penalty": (1,),
    "encoder_no_repeat_ngram_size": (0,),
    "exponential_decay_length_penalty": (),
    "begin_suppress_tokens": ([],),
    "force_words_ids": (),
    "sequence_bias": (),
    "guidance_scale": (1,),
    "epsilon_cutoff": (0,),
    "eta_cutoff": (0,),
    "stop_strings": (),
    "dola_layers": (),
    "watermarking_config": (),
}


def read_generation(path: Path) -> dict[str, Any]:
    """The content of a folder's ``generation_config.json``; empty where there is none."""
    return read_json(path / GENERATION) if (path / GENERATION).is_file() else {}


def with_defaults(
    path: Path, settings: Mapping[str, Any], defaults: Mapping[str, Any]
) -> dict[str, Any]:
    """Settings with the defaults of what neither they nor the folder's generation settings say."""
    said = settings.keys() | read_generation(path).keys()
    return {**{n: v for n, v in defaults.items() if n not in said}, **settings}


def read_sampling(path: Path, config: Mapping[str, Any]) -> dict[str, Any]:
    """How a folder's model writes where nothing is asked for: settings of `Sampling` by name.

    Args:
        config: the content of its ``config.json``.

    Raises:
        WenmoError: a value is out of range.
    """
    if (path / GENERATION).is_file():
        return checked_sampling(read_generation(path), str(path / GENERATION))
    return checked_sampling(config, str(path / "config.json"))


def checked_sampling(settings: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Generation settings as ours, all within their range.

    Args:
        where: they come from, for errors.

    Raises:
        WenmoError: one is out of range.
    """
    found = sampling_of(settings)
    from_dict(Sampling, found, where=where)
    return found


def sampling_of(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Generation settings as ours. Without ``do_sample``, settings of drawing ask for drawing."""
    given = {name: value for name, value in settings.items() if value is not None}
    found = {ours: given[name] for name, ours in SAMPLING.items() if name in given}
    beams, drawn = given.get("num_beams", 1), given.get("do_sample")
    if drawn:
        return DRAWN | found
    if drawn is None and beams == 1:
        drawing = any(name in given for name in DRAWING)
        return {"method": "sample", **found} if drawing else found
    found = {name: value for name, value in found.items() if name not in DRAWING}
    if beams == 1:
        return {"method": "greedy", **found}
    beam = {"method": "beam", "beam_width": beams, "length_penalty": given.get("length_penalty", 1)}
    return beam | {"length_penalty": min(max(float(beam["length_penalty"]), 0.0), 10.0)} | found


def generation_of(sampling: Mapping[str, Any]) -> dict[str, Any]:
    """Settings of `Sampling` by name as generation settings, which `sampling_of` reads back."""
    names = {ours: theirs for theirs, ours in SAMPLING.items() if ours != "max_tokens"}
    given = {names[name]: value for name, value in sampling.items() if name in names}
    method = sampling.get("method", "sample")
    if method == "sample":
        return {"do_sample": True, "top_k": 0, **given}
    rest = {name: value for name, value in given.items() if name not in DRAWING}
    if method != "beam":
        return {"do_sample": False, **rest}
    beam = {"num_beams": sampling["beam_width"], "length_penalty": sampling["length_penalty"]}
    return {"do_sample": False, **beam, **rest}


def unsupported_note(path: Path) -> str | None:
    """One line that names what a folder's generation settings say in vain; None: nothing."""
    settings = read_generation(path).items()
    vain = [n for n, v in settings if n in UNSUPPORTED and v not in (None, *UNSUPPORTED[n])]
    return f"{GENERATION}: {', '.join(vain)}: not supported here, and not used" if vain else None

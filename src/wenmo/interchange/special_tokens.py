"""Special tokens of models in folders: tokens that begin or end a text, and suppressed tokens."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer as Library

from wenmo.interchange.generation import read_generation, unsupported_note
from wenmo.interchange.tokenizer_files import chat_template_note, read_chat_template
from wenmo.models.base import LanguageModel
from wenmo.text.pretrained import PretrainedTokenizer
from wenmo.types import END, WenmoError

END_TOKENS = ("</s>", "<|endoftext|>", "<|end|>", "[SEP]", "<eos>")


def end_token_id(path: Path, settings: dict[str, Any], library: Library) -> int | None:
    """The id of the end-of-text token; None if there is none.

    It is the first id of ``eos_token_id`` that the chat template mentions, or else the first. If
    the settings name none within the vocabulary, it is that of the tokenizer.
    """
    template = read_chat_template(path) or ""
    for ids in (settings.get("eos_token_id"), read_generation(path).get("eos_token_id")):
        known = [id_ for id_ in _as_ids(ids) if id_ < int(settings["vocab_size"])]
        names = {id_: library.id_to_token(id_) for id_ in known}
        if known:
            return next((id_ for id_, name in names.items() if name and name in template), known[0])
    candidates = (library.token_to_id(token) for token in END_TOKENS)
    return next((id_ for id_ in candidates if id_ is not None), None)


def require_end(config: Path, end: int | None) -> int:
    """``end``, if it is not None.

    Args:
        config: the path of ``config.json``, for the error message.

    Raises:
        WenmoError: the model has no end-of-text token.
    """
    if end is None:
        raise WenmoError(f"{config}: eos_token_id is missing")
    return end


def join_notes(path: Path, *extra: str) -> str | None:
    """The notes for the user of a folder's model, in one line; None if there are none."""
    notes = [*extra, chat_template_note(path), unsupported_note(path)]
    return "; ".join(note for note in notes if note) or None


def set_special_tokens(
    path: Path, settings: dict[str, Any], model: LanguageModel, tokenizer: PretrainedTokenizer
) -> None:
    """Set a model's special tokens.

    Args:
        settings: the content of ``config.json``; ``generation_config.json`` has precedence.

    Raises:
        WenmoError: the decoder's start token is not an id of the model.
    """
    generation = read_generation(path)
    eos = [*_as_ids(settings.get("eos_token_id")), *_as_ids(generation.get("eos_token_id"))]
    merged = {n: v for values in (settings, generation) for n, v in values.items() if v is not None}
    bad_words = merged.get("bad_words_ids")
    words = [_as_ids(word) for word in bad_words] if isinstance(bad_words, list) else []
    suppressed = [word[0] for word in words if len(word) == 1] + _as_ids(
        merged.get("suppress_tokens")
    )
    model.special_tokens = replace(
        model.special_tokens,
        eos=_internal_ids(eos, model, tokenizer),
        suppressed=_internal_ids(suppressed, model, tokenizer),
    )
    if model.conditioning == "encoder":
        _set_decoder_start(path, merged, model, tokenizer)


def _set_decoder_start(
    path: Path, settings: dict[str, Any], model: LanguageModel, tokenizer: PretrainedTokenizer
) -> None:
    """Set the tokens that start the decoder, and those that follow the source."""
    start = settings.get("decoder_start_token_id", settings.get("bos_token_id"))
    forced = settings.get("forced_bos_token_id")  # such as the target language
    ids = [id_ for id_ in (start, forced) if id_ is not None]
    if not all(isinstance(id_, int) and 0 <= id_ < model.vocab_size for id_ in ids):
        raise WenmoError(f"{path}: the decoder starts with {ids}, which are not ids of the model")
    if forced is not None and tokenizer.external_ids(tokenizer.prefix) == [forced]:
        ids.remove(forced)
    elif forced is not None:
        tokenizer.prefix = []
    model.special_tokens = replace(
        model.special_tokens,
        bos=tuple(tokenizer.external_ids(ids)) or model.special_tokens.bos,
        source_suffix=tuple(tokenizer.suffix),
    )


def _as_ids(value: object) -> list[int]:
    """A setting that is one id or a list of ids, as a list."""
    return [id_ for id_ in (value if isinstance(value, list) else [value]) if isinstance(id_, int)]


def _internal_ids(
    ids: list[int], model: LanguageModel, tokenizer: PretrainedTokenizer
) -> tuple[int, ...]:
    """Internal ids of external ids, without END and ids beyond the vocabulary."""
    known = {id_ for id_ in tokenizer.external_ids(ids) if END < id_ < model.vocab_size}
    return tuple(sorted(known))

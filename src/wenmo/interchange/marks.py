"""The ids that a model in a folder gives a meaning of its own: what its texts begin with, what ends
them, and what is never written.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer as Library

from wenmo.interchange.generation import read_generation, unsupported_note
from wenmo.interchange.vocabulary_files import read_template, template_note
from wenmo.models.base import LanguageModel
from wenmo.text.pretrained import PretrainedTokenizer
from wenmo.types import END, WenmoError

END_MARKS = ("</s>", "<|endoftext|>", "<|end|>", "[SEP]", "<eos>")


def end_of(path: Path, theirs: dict[str, Any], library: Library) -> int | None:
    """The id of the mark that ends a text; of several, the first that the chat template names, or
    else the first; where the settings name none that the model knows, the tokenizer's; None: the
    model knows no end.
    """
    template = read_template(path) or ""
    for ends in (theirs.get("eos_token_id"), read_generation(path).get("eos_token_id")):
        known = [id_ for id_ in _ids(ends) if id_ < int(theirs["vocab_size"])]
        names = {id_: library.id_to_token(id_) for id_ in known}
        if known:
            return next((id_ for id_, name in names.items() if name and name in template), known[0])
    marks = (library.token_to_id(mark) for mark in END_MARKS)
    return next((id_ for id_ in marks if id_ is not None), None)


def known_end(config: Path, end: int | None) -> int:
    """The end mark, if a model that must have one has one.

    Raises:
        WenmoError: it has none.
    """
    if end is None:
        raise WenmoError(f"{config}: eos_token_id is missing")
    return end


def joined_notes(path: Path, *more: str) -> str | None:
    """What the user of a folder's model should know, in one line; None: nothing."""
    notes = [*more, template_note(path), unsupported_note(path)]
    return "; ".join(note for note in notes if note) or None


def put_marks(
    path: Path, theirs: dict[str, Any], model: LanguageModel, tokenizer: PretrainedTokenizer
) -> None:
    """Tell a model of these ids.

    Args:
        theirs: its settings; what its makers say of writing goes before them.

    Raises:
        WenmoError: an answer is to begin with what is no id of the model's.
    """
    generation = read_generation(path)
    ends = [*_ids(theirs.get("eos_token_id")), *_ids(generation.get("eos_token_id"))]
    settings = {n: v for part in (theirs, generation) for n, v in part.items() if v is not None}
    barred = settings.get("bad_words_ids")
    words = [_ids(word) for word in barred] if isinstance(barred, list) else []
    alone = [word[0] for word in words if len(word) == 1] + _ids(settings.get("suppress_tokens"))
    model.special_tokens = replace(
        model.special_tokens,
        eos=_ours(ends, model, tokenizer),
        suppressed=_ours(alone, model, tokenizer),
    )
    if model.conditioning == "encoder":
        _begin_answers(path, settings, model, tokenizer)


def _begin_answers(
    path: Path, settings: dict[str, Any], model: LanguageModel, tokenizer: PretrainedTokenizer
) -> None:
    """What stands before an answer, and after what is answered."""
    start = settings.get("decoder_start_token_id", settings.get("bos_token_id"))
    forced = settings.get("forced_bos_token_id")  # such as the language to translate into
    marks = [mark for mark in (start, forced) if mark is not None]
    if not all(isinstance(mark, int) and 0 <= mark < model.vocab_size for mark in marks):
        raise WenmoError(f"{path}: an answer begins with {marks}, which are not ids of the model")
    if forced is not None and tokenizer.external_ids(tokenizer.prefix) == [forced]:
        marks.remove(forced)
    elif forced is not None:
        tokenizer.prefix = []
    model.special_tokens = replace(
        model.special_tokens,
        bos=tuple(tokenizer.external_ids(marks)) or model.special_tokens.bos,
        source_suffix=tuple(tokenizer.suffix),
    )


def _ids(value: object) -> list[int]:
    """What settings name as one id, or as several."""
    return [id_ for id_ in (value if isinstance(value, list) else [value]) if isinstance(id_, int)]


def _ours(ids: list[int], model: LanguageModel, tokenizer: PretrainedTokenizer) -> tuple[int, ...]:
    """Our ids of those of theirs that the model knows, but END."""
    known = {id_ for id_ in tokenizer.external_ids(ids) if END < id_ < model.vocab_size}
    return tuple(sorted(known))

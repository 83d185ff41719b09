"""Prompts: read from files, and what a user should know of them before and after writing."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from wenmo.api.run import Run
from wenmo.decoding.engines.base import window
from wenmo.models.capabilities import Infills, has_capability
from wenmo.progress import ProgressCallback
from wenmo.text.config import ReadConfig
from wenmo.text.inputs import Source
from wenmo.text.pairs import KeptSide, max_source_length
from wenmo.text.readers import Reader, for_other_data, has_fields
from wenmo.text.tasks import GAP, kept_side, with_gaps


def read_prompts(
    path: Source,
    run: Run,
    *,
    encoding: str | None = None,
    on_progress: ProgressCallback | None = None,
) -> list[str]:
    """What to write for: a line each of a plain text, or records of another format.

    For a run that was trained on pairs these are the sources, and an empty line stays in its place.

    Args:
        encoding: of the file; ``None`` detects it.
        on_progress: receives what the user should know of how the file was read.
    """
    paired = run.task.paired and run.task.name != "completion"
    if paired and not has_fields(path):
        reader = Reader(path, ReadConfig(encoding=encoding), aligned=True)
        text = "".join(record.text for record in reader)
        prompts = text.removesuffix("\n").split("\n")
    else:
        field = run.card.recipe.read.source_field if paired else None
        reader = Reader(path, ReadConfig(unit="line", text_field=field, encoding=encoding))
        prompts = [record.text for record in reader]
    _tell_notes(reader, on_progress)
    return prompts


def read_texts(
    path: Source,
    run: Run,
    *,
    encoding: str | None = None,
    on_progress: ProgressCallback | None = None,
) -> list[str]:
    """Texts of a kind, read as the run reads those it is trained on.

    Args:
        encoding: of the file; ``None`` detects it.
        on_progress: receives what the user should know of how the file was read.
    """
    read = replace(run.card.recipe.read, encoding=encoding)
    reader = Reader(path, for_other_data(read, plain=not has_fields(path)))
    texts = [record.text for record in reader]
    _tell_notes(reader, on_progress)
    return texts


def _tell_notes(reader: Reader, on_progress: ProgressCallback | None) -> None:
    if on_progress is not None:
        for note in reader.notes:
            on_progress(note, None)


def kept_part(run: Run, prompt: str) -> KeptSide | None:
    """Which end alone is read of a prompt that is too long for the model; None: all is read."""
    if run.task.paired and run.task.name != "completion":
        length = len(run.tokenizer.encode_source(prompt))
        room = max_source_length(run.model.conditioning, run.model.context)
        too_long = room is not None and length > room
    else:
        length = len(run.tokenizer.encode(prompt))
        too_long = window(1 + length, run.model.context) < 1 + length
    return kept_side(run.task) if too_long else None


def ignores_gap(run: Run, prompt: str) -> bool:
    """Whether a prompt has a gap that the run reads as any other text."""
    fills = has_capability(run.model, Infills) or run.task.name != "completion"
    return not fills and GAP in with_gaps(prompt)


def chooses_gap(run: Run, prompt: str, **sampling: Any) -> bool:
    """Whether a prompt has a gap whose length the model chooses."""
    fills = has_capability(run.model, Infills) and GAP in with_gaps(prompt)
    return fills and not sampling.get("gap_tokens", run.sampling.gap_tokens)


def unknown_characters(run: Run, prompts: Iterable[str]) -> str:
    """The characters of prompts that the training text does not have, each once; of sources
    nothing is known, since the card keeps the characters of targets alone.
    """
    if run.card.alphabet is None or run.task.paired:
        return ""
    known = {*run.card.alphabet, *GAP}
    given = dict.fromkeys("".join(map(with_gaps, prompts)))
    return "".join(c for c in given if c not in known and not c.isspace())


def display_affixes(run: Run, prompt: str, prefix: str = "") -> tuple[str, str]:
    """What of prompt and prefix belongs before and after a text that a person is shown."""
    marked = with_gaps(prompt)
    if run.task.name == "infilling" or (has_capability(run.model, Infills) and GAP in marked):
        before, _, after = marked.partition(GAP)
        return before + prefix, after
    return prefix + prompt if run.task.name == "completion" else prefix, ""

"""Prompts: read from files, checked against a run, and displayed with generated texts."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from wenmo.api.run import Run
from wenmo.decoding.engines.base import window
from wenmo.models.capabilities import Infills, has_capability
from wenmo.progress import ProgressCallback
from wenmo.text.config import KeptSide, ReadConfig
from wenmo.text.inputs import Source
from wenmo.text.pairs import max_source_length
from wenmo.text.readers import Reader, for_other_data, has_fields
from wenmo.text.tasks import GAP, kept_side, with_gaps


def read_prompts(
    path: Source,
    run: Run,
    *,
    encoding: str | None = None,
    on_progress: ProgressCallback | None = None,
) -> list[str]:
    """Read prompts: the lines of a plain text, or the records of another format.

    For a run that was trained on pairs the prompts are sources; an empty line is an empty prompt.

    Args:
        path: the file.
        run: the run that answers the prompts.
        encoding: encoding of the file; ``None`` detects it.
        on_progress: called with the notes on how the file was read.
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
    _report_notes(reader, on_progress)
    return prompts


def read_texts(
    path: Source,
    run: Run,
    *,
    encoding: str | None = None,
    lines: bool = False,
    on_progress: ProgressCallback | None = None,
) -> list[str]:
    """Read texts with the settings of a run's training text.

    Args:
        path: the file.
        run: the run whose settings are used.
        encoding: encoding of the file; ``None`` detects it.
        lines: a line of a plain text is a text.
        on_progress: called with the notes on how the file was read.
    """
    read = replace(run.card.recipe.read, encoding=encoding)
    if lines:
        read = replace(read, unit="line")
    reader = Reader(path, for_other_data(read, plain=not has_fields(path)))
    texts = [record.text for record in reader]
    _report_notes(reader, on_progress)
    return texts


def _report_notes(reader: Reader, on_progress: ProgressCallback | None) -> None:
    if on_progress is not None:
        for note in reader.notes:
            on_progress(note, None)


def truncation_side(run: Run, prompt: str) -> KeptSide | None:
    """The end of the prompt that the model reads if it is too long; None if it is not."""
    if run.task.paired and run.task.name != "completion":
        length = len(run.tokenizer.encode_source(prompt))
        max_length = max_source_length(run.model.conditioning, run.model.context)
        is_too_long = max_length is not None and length > max_length
    else:
        length = len(run.tokenizer.encode(prompt))
        is_too_long = window(1 + length, run.model.context) < 1 + length
    return kept_side(run.task) if is_too_long else None


def ignores_gap(run: Run, prompt: str) -> bool:
    """Whether a prompt has a gap that the run does not fill but reads as text."""
    fills_gaps = has_capability(run.model, Infills) or run.task.name != "completion"
    return not fills_gaps and GAP in with_gaps(prompt)


def chooses_gap_length(run: Run, prompt: str, **sampling: Any) -> bool:
    """Whether a prompt has a gap whose length the model chooses."""
    has_gap = has_capability(run.model, Infills) and GAP in with_gaps(prompt)
    return has_gap and not sampling.get("gap_tokens", run.sampling.gap_tokens)


def unseen_characters(run: Run, prompts: Iterable[str]) -> str:
    """The characters of the prompts that are not in the training text, each once.

    Empty for a run that was trained on pairs: its card has the characters of the targets only.
    """
    if run.card.alphabet is None or run.task.paired:
        return ""
    alphabet = {*run.card.alphabet, *GAP}
    characters = dict.fromkeys("".join(map(with_gaps, prompts)))
    return "".join(c for c in characters if c not in alphabet and not c.isspace())


def display_affixes(run: Run, prompt: str, prefix: str = "") -> tuple[str, str]:
    """The parts of prompt and prefix that are displayed before and after a generated text."""
    text = with_gaps(prompt)
    if run.task.name == "infilling" or (has_capability(run.model, Infills) and GAP in text):
        before, _, after = text.partition(GAP)
        return before + prefix, after
    return prefix + prompt if run.task.name == "completion" else prefix, ""

"""Long texts: an outline, written by a run section by section."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

from wenmo.api.run import Run
from wenmo.decoding.constraints.settings import split_options
from wenmo.decoding.output import Output
from wenmo.longform.draft import Draft
from wenmo.longform.outline import Outline, read_outline
from wenmo.longform.writer import LongTextWriter, Revision
from wenmo.models.capabilities import Infills, has_capability
from wenmo.progress import ProgressCallback
from wenmo.text.tasks import GAP, render_history
from wenmo.types import WenmoError

REVISIONS: tuple[str, ...] = get_args(Revision)


def write_long_text(
    run: Run,
    outline: str | Path | Outline,
    out: str | Path,
    *,
    section: str | int | None = None,
    revise: str | None = None,
    on_progress: ProgressCallback | None = None,
    **options: Any,
) -> Draft:
    """Write the sections of an outline into a Markdown file, or revise one of them.

    What is in the file already stays, so the same call resumes one that was interrupted.

    Args:
        run: a run that continues text, or a chat model.
        outline: the outline, or its file.
        out: the Markdown file; beside it is a JSON file with the settings of each section.
        section: number or title of the section to revise.
        revise: ``rewrite``, ``expand`` or ``continue`` it (default: rewrite).
        on_progress: called with a note for each section, and the fraction done.
        **options: any setting of ``ConstraintSettings`` and ``Sampling``, for sections that do not
            set it themselves.

    Raises:
        WenmoError: an outline or a draft that cannot be read, a run of another task, or an option
            that does not fit the run.
    """
    if not isinstance(outline, Outline):
        outline = read_outline(Path(outline))
    check_revision(outline, section, revise)
    writer = LongTextWriter(RunModel(run), outline, Path(out), options, on_progress)
    if section is None:
        return writer.write_all()
    return writer.revise(outline.find(str(section)), revise or "rewrite")  # type: ignore[arg-type]


def check_revision(outline: Outline, section: str | int | None, revise: str | None) -> None:
    """Check what is asked of a section.

    Raises:
        WenmoError: no such revision, no such section, or a revision of none.
    """
    if revise is not None and revise not in REVISIONS:
        raise WenmoError(f"revise={revise}: must be {', '.join(REVISIONS[:-1])} or {REVISIONS[-1]}")
    if revise is not None and section is None:
        raise WenmoError(f"revise={revise}: name the section, by number or title")
    if section is not None:
        outline.find(str(section))


class RunModel:
    """Writes with a run; see `wenmo.longform.writer.TextModel`."""

    def __init__(self, run: Run) -> None:
        self.run, self.name = run, str(run.folder)
        self.context = run.model.context
        self.is_chat = run.generator.chat_formatter is not None
        self.infills = has_capability(run.model, Infills)
        if run.task.paired and not self.is_chat:
            raise WenmoError(
                f"{run.folder}: was trained for {run.task.name}: a long text needs a run that "
                "continues text, or a chat model"
            )

    def count(self, text: str) -> int:
        """The number of tokens of a text."""
        return len(self.run.tokenizer.encode(text))

    def write(
        self, before: str, begin: str, options: Mapping[str, Any], after: str | None = None
    ) -> Output:
        """Write a text; see `wenmo.longform.writer.TextModel.write`."""
        if self.is_chat:
            return self._answer(before, begin, options)
        if after is not None:
            return self.run.write(f"{before}{begin}{GAP}{after}", **options)[0][0]
        return self.run.write(before + begin, **options)[0][0]

    def _answer(self, message: str, begin: str, options: Mapping[str, Any]) -> Output:
        generator = self.run.generator
        formatter = generator.chat_formatter
        assert formatter is not None
        constraints, sampling = split_options(options)
        settings = generator.sampling(sampling)
        if generator.card.is_chat:
            history = render_history([message], self.run.task)
            sources = formatter.sources_with_system([history], None)
            outputs = generator.text_generator.generate(
                [begin], settings, sources=sources, constraints=constraints
            )
            return outputs[0][0]
        history = render_history([message], replace(self.run.task, history=1))
        [prompt] = formatter.sources_with_system([history], None)
        writer = generator.chat_generator
        return writer.generate([prompt + begin], settings, constraints=constraints)[0][0]

"""Writing a long text section by section, and revising single sections.

A section is written from what stands before it, within the model's context: a model that continues
text reads the section's notes and the passage before it; a chat model is asked for the section.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, Protocol, TypeAlias

from wenmo.decoding.constraints.settings import CONSTRAINTS
from wenmo.decoding.noise import draw_seed
from wenmo.decoding.output import Output
from wenmo.longform.context import Context, context_of, first_sentence
from wenmo.longform.draft import Draft, WrittenSection, read_draft, write_draft
from wenmo.longform.instructions import revision_message, section_message, summary_message
from wenmo.longform.outline import Outline, Section
from wenmo.progress import ProgressCallback
from wenmo.types import WenmoError

Revision: TypeAlias = Literal["rewrite", "expand", "continue"]
DEFAULT_ROOM = 1536  # tokens that are read of a text, where the context is unbounded
SUMMARY_TOKENS = 60


class TextModel(Protocol):
    """A model with its tokenizer.

    Attributes:
        name: for the draft's record.
        context: the most tokens that the model reads; None: unbounded.
        is_chat: it answers to messages; else it continues text.
        infills: it fills gaps.
    """

    name: str
    context: int | None
    is_chat: bool
    infills: bool

    def count(self, text: str) -> int:
        """The number of tokens of a text."""
        ...

    def write(
        self, before: str, begin: str, options: Mapping[str, Any], after: str | None = None
    ) -> Output:
        """Write a text.

        Args:
            before: the text that it continues, or the message that it answers.
            begin: how it begins; it is not repeated in the output.
            options: constraints and sampling.
            after: what follows it, for models that fill gaps.
        """
        ...


class LongTextWriter:
    """Writes the sections of an outline into a draft.

    Args:
        options: settings of decoding that the outline does not have, by name.
    """

    def __init__(
        self,
        model: TextModel,
        outline: Outline,
        out: Path,
        options: Mapping[str, Any],
        on_progress: ProgressCallback | None = None,
    ) -> None:
        self.model, self.outline, self.out = model, outline, out
        self.options, self.on_progress = options, on_progress
        self.draft = self._open()
        self.states = {
            each.number: "edited" if each.edited else "kept" for each in self.draft.sections
        }

    def _open(self) -> Draft:
        """The draft as it is, or an empty one. A seed that is given is that of further sections."""
        draft = read_draft(self.out)
        given = {**self.outline.options, **self.options}.get("seed")
        if draft is None:
            seed = draw_seed() if given is None else given
            return Draft(str(self.out), self.model.name, seed)
        seed = draft.seed if given is None else given
        return replace(draft, path=str(self.out), model=self.model.name, seed=seed)

    def write_all(self) -> Draft:
        """Write every section that is not in the draft, or whose plan has changed.

        A text that the user has edited is kept.
        """
        sections = self.outline.sections
        for done, section in enumerate(sections):
            self._report(section, done / len(sections))
            written = self.draft.get(section.number)
            current = written is not None and written.fingerprint == self._fingerprint(section)
            if written is None or not (current or written.edited):
                self._save(section, self._write(section), written)
        known = {section.number for section in sections}
        kept = [each for each in self.draft.sections if each.number in known]
        self.draft = replace(self.draft, sections=kept)
        write_draft(self.out, self.outline, self.draft)
        return self.draft

    def revise(self, section: Section, revision: Revision) -> Draft:
        """Rewrite, expand or continue one section; the others stay as they are.

        Raises:
            WenmoError: it is not written yet, or has constraints that a longer text would break.
        """
        written = self.draft.get(section.number)
        if written is None:
            raise WenmoError(
                f"{self.out}: section {section.number} is not written yet: run without --section"
            )
        self._report(section, 0.0)
        if revision == "rewrite":
            new = self._write(section, seed=self._new_seed(section, written))
        else:
            new = self._lengthen(section, written, revision)
        self._save(section, new, written)
        return self.draft

    # -- writing -----------------------------------------------------------------------------------

    def _write(self, section: Section, seed: int | None = None) -> WrittenSection:
        options = self._options(section)
        options["seed"] = options["seed"] if seed is None else seed
        begin = section.settings.begin
        output = self.model.write(self._before(section, begin), begin, options)
        if output.truncated and self.on_progress is not None:
            note = "its outline and notes are longer than the model can read: only the end is read"
            self.on_progress(f"section {section.number}: {note}", None)
        return self._written(section, begin + output.text, output)

    def _before(self, section: Section, begin: str) -> str:
        """What the model reads before the section's text: the outline's words, and as much of the
        text so far as there is room for.
        """
        room = self._room() - self.model.count(self._prompt(section, Context((), "")) + begin)
        carry = self.outline.settings.carry_tokens or self._room() * 2 // 3
        budget = max(0, min(room, carry))
        context = context_of(self.outline, self.draft, section, self.model.count, budget)
        return self._prompt(section, context)

    def _prompt(self, section: Section, context: Context) -> str:
        if self.model.is_chat:
            return section_message(self.outline, section, context)
        parts = [*context.summary, section.notes, context.passage]
        return "".join(f"{part}\n\n" for part in parts if part)

    def _room(self) -> int:
        """How many tokens the model reads before it writes, so that a quarter is left to write."""
        context = self.model.context
        return DEFAULT_ROOM if context is None else 3 * context // 4

    def _lengthen(
        self, section: Section, written: WrittenSection, revision: Revision
    ) -> WrittenSection:
        options = self._options(section)
        held = [name for name in options if name in CONSTRAINTS]
        if held:
            raise WenmoError(
                f"{self.outline.path}:{section.line}: section {section.number} has "
                f"{', '.join(held)}, which a longer text would break: rewrite it instead"
            )
        options["seed"] = self._new_seed(section, written)
        if self.model.is_chat:
            message = revision_message(self.outline, written.text, revision)
            output = self.model.write(message, "", options)
            text = output.text if revision == "expand" else f"{written.text}\n\n{output.text}"
            return self._written(section, text, output)
        if revision == "continue":
            before = self._before(section, written.text) + written.text
            output = self.model.write(before, "", options)
            return self._written(section, written.text + output.text, output)
        return self._expand(section, written, options)

    def _expand(
        self, section: Section, written: WrittenSection, options: dict[str, Any]
    ) -> WrittenSection:
        """Insert a passage behind each paragraph, about as long as the paragraph."""
        paragraphs = [each for each in written.text.split("\n") if each.strip()]
        before, text, outputs = self._before(section, written.text), "", []
        for number, paragraph in enumerate(paragraphs):
            text += paragraph
            after = paragraphs[number + 1] if number + 1 < len(paragraphs) else None
            room = {**options, "max_tokens": max(1, self.model.count(paragraph))}
            room["seed"] = options["seed"] + number
            after = after if self.model.infills else None
            output = self.model.write(before + text, "", room, after)
            text += output.text.rstrip() + "\n"
            outputs.append(output)
        last = outputs[-1]
        total = replace(
            last,
            tokens=sum(each.tokens for each in outputs),
            logprob=sum(each.logprob for each in outputs),
            seed=options["seed"],
        )
        return self._written(section, text.rstrip(), total)

    def _written(self, section: Section, text: str, output: Output) -> WrittenSection:
        return WrittenSection(
            number=section.number,
            title=section.title,
            text=text.strip("\n"),
            seed=output.seed,
            tokens=output.tokens,
            logprob=output.logprob,
            stopped_by=output.stopped_by,
            fingerprint=self._fingerprint(section),
            summary=self._summary(section, text),
        )

    def _summary(self, section: Section, text: str) -> str:
        """A line on a section that is written, where later sections see one."""
        if self.outline.settings.carry != "summary":
            return ""
        if section.settings.summary:
            return section.settings.summary
        if not self.model.is_chat:
            return first_sentence(text)
        options = {"method": "greedy", "max_tokens": SUMMARY_TOKENS}
        message = summary_message(self.outline, text)
        return first_sentence(self.model.write(message, "", options).text)

    def _save(self, section: Section, new: WrittenSection, old: WrittenSection | None) -> None:
        if old is not None:
            new = replace(new, earlier=[*old.earlier, old.text])
        self.draft = self.draft.put(new)
        self.states[section.number] = "written" if old is None else "revised"
        write_draft(self.out, self.outline, self.draft)

    # -- settings ----------------------------------------------------------------------------------

    def _options(self, section: Section) -> dict[str, Any]:
        """The settings of a section's decoding: its own, then those of the call."""
        seed = self.draft.seed + section.number
        return {**self.outline.options, **self.options, "seed": seed, **section.options}

    def _new_seed(self, section: Section, written: WrittenSection) -> int:
        """The seed of another text: one that no section has had where one is given."""
        given = self.options.get("seed")
        if given is None:
            return draw_seed()
        tries = len(written.earlier) + 1
        return int(given) + section.number + tries * len(self.outline.sections)

    def _fingerprint(self, section: Section) -> str:
        """Of what the outline says of a section."""
        said = [
            *(section.title, section.notes, section.settings.begin),
            {**self.outline.options, **section.options},
        ]
        content = json.dumps(said, ensure_ascii=False, sort_keys=True, default=str)
        return hashlib.sha256(content.encode()).hexdigest()[:16]

    def _report(self, section: Section, fraction: float) -> None:
        if self.on_progress is not None:
            self.on_progress("writing", fraction)
            self.on_progress(f"section {section.number}: {section.title}", None)

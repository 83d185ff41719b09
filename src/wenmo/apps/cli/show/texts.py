"""Texts that a run writes, and what belongs to them."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Any

from rich.text import Text
from rich.tree import Tree

from wenmo.apps.cli.show.terminal import ERR, OUT, note
from wenmo.results import Result, inlined
from wenmo.types import WenmoError

if TYPE_CHECKING:
    from wenmo.api import Derivation, Output, Run
    from wenmo.evaluation.results import Alignment


def opened(run: Run) -> Run:
    """Tell what the user of a model should know, and give it on."""
    if run.card.note is not None:
        note(run.card.note)
    return run


def seed(drawn: int) -> None:
    """The seed that was drawn for what is written now: with it, it is written again."""
    sys.stdout.flush()
    ERR.print(Text(f"seed {drawn}", style="dim"))


def output(written: Output) -> dict[str, Any]:
    """One written text as ``generate --json`` gives it."""
    return {
        "text": written.text,
        "tokens": written.tokens,
        "logprob": written.logprob,
        "score": written.score,
        "logprobs": list(written.logprobs),
        "stopped_by": written.stopped_by,
        "truncated": written.truncated,
        **({"derivation": written.derivation.to_dict()} if written.derivation else {}),
    }


def stream(run: Run, prompt: str, prefix: str, pieces: Iterable[str]) -> str:
    """Show a text as it comes, with what a person needs to see of its prompt; return the text."""
    from wenmo.api.prompts import display_affixes

    before, after = display_affixes(run, prompt, prefix)
    pieces = iter(pieces)
    text = next(pieces, "")  # what cannot be written is refused before this
    sys.stdout.write(before + text)
    for piece in pieces:
        sys.stdout.write(piece)
        sys.stdout.flush()
        text += piece
    sys.stdout.write(after + "\n")
    return text


def empty_texts(run: Run, prompts: Sequence[str], groups: Iterable[Sequence[str]]) -> None:
    """A note where all texts of a prompt are empty: the prompt alone looks like a failure."""
    for prompt, group in zip(prompts, groups, strict=True):
        asked = bool(prompt.strip()) or not run.task.paired  # a blank line among sources
        if asked and not any(text.strip() for text in group):
            sys.stdout.flush()
            chat = f"; it was trained for conversations: wenmo chat {quote(str(run.folder))}"
            note(f"the model ended the text at once{chat if run.card.has_chat_template else ''}")
            return


def texts(run: Run, prompts: Sequence[str], prefix: str, groups: Sequence[Sequence[str]]) -> None:
    """Many texts: a line for each prompt where each has one answer, else each under a number."""
    from wenmo.api.prompts import display_affixes

    shown = [
        written.join(display_affixes(run, prompt, prefix))
        for prompt, group in zip(prompts, groups, strict=True)
        for written in group
    ]
    if run.task.paired and len(shown) == len(prompts):
        for text in shown:
            print(" ".join(text.splitlines()))
        return
    for number, text in enumerate(shown, 1):
        if OUT.is_terminal:
            OUT.print(Text(f"[{number}]", style="dim"))
        else:  # there may be millions
            print(f"[{number}]")
        print(text)


def derivations(outputs: Sequence[Sequence[Output]]) -> None:
    """Each text, and below it which rules made it."""
    for output in (output for group in outputs for output in group):
        OUT.print(Text(output.text))
        if output.derivation is None:
            note("no rules made this text: derivations are of what a grammar writes alone")
        else:
            OUT.print(_tree(output.derivation))


def _tree(derivation: Derivation) -> Tree:
    label = Text(derivation.rule, style="bold").append(f" {derivation.alternative}", style="dim")
    if derivation.text != derivation.alternative:
        label.append(f" → {derivation.text}", style="default")
    tree = Tree(label)
    for inner in derivation.children:
        tree.children.append(_tree(inner))
    return tree


def alignments(folder: Path, aligned: Sequence[Alignment]) -> None:
    """Write what attended to what, ``1.json``, ``1.svg`` and so on, and say where."""
    from wenmo.api import alignment_svg, write_text

    for number, each in enumerate(aligned, 1):
        write_text(folder / f"{number}.json", json.dumps(each.to_dict(), ensure_ascii=False))
        write_text(folder / f"{number}.svg", alignment_svg(each.source, each.target, each.weights))
    ERR.print(Text(f"alignments: {folder}/1.json, {folder}/1.svg and so on"))


def ask() -> str:
    """What the user says; empty where nothing more is to come.

    Raises:
        WenmoError: nothing can be read.
    """
    if sys.stdin is None:
        raise WenmoError("standard input is closed: chat reads what you say from it")
    try:
        return OUT.input(Text("> ", style="bold")).strip()
    except EOFError:
        return ""
    except UnicodeDecodeError as error:
        advice = "pass --encoding=NAME, such as gb18030"
        raise WenmoError(f"standard input: not valid {error.encoding}; {advice}") from None


def reply(pieces: Iterable[str]) -> str:
    """Show a reply as it comes, and give it back."""
    said = ""
    for piece in pieces:
        sys.stdout.write(piece)
        sys.stdout.flush()
        said += piece
    sys.stdout.write("\n")
    return said


@dataclass(frozen=True)
class LatentText(Result):
    """A text that was written from a place among the latents.

    Attributes:
        source: the text whose latents these are, or were before they were moved.
        share: of a walk, from 0 to 1.
        output: the text, as ``generate --json`` gives it.
    """

    source: str | None = None
    share: float | None = None
    output: dict[str, Any] = inlined(default_factory=dict)


def latent_texts(rows: Sequence[LatentText]) -> None:
    """Texts, each under what it comes from: a text, or its place on a walk."""
    for row in rows:
        told = f"{row.share:.0%}" if row.source is None else row.source
        OUT.print(Text(" ".join(told.split()), style="dim"))
        OUT.print(Text(row.output["text"]))

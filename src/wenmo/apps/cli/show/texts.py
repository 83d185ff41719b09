"""Generated texts with their prompts, seeds, derivations and alignments; conversations."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Any

from rich.table import Table
from rich.text import Text
from rich.tree import Tree

from wenmo.apps.cli.show.terminal import ERR, OUT, print_note, visible
from wenmo.results import Result, inlined
from wenmo.types import WenmoError

if TYPE_CHECKING:
    from wenmo.api import Candidate, Derivation, Output, Run
    from wenmo.evaluation.results import Alignment


def print_card_note(run: Run) -> None:
    """Print the note of a run's card, if there is one."""
    if run.card.note is not None:
        print_note(run.card.note)


def print_seed(seed: int) -> None:
    """Print a drawn seed, which generates the same text again."""
    sys.stdout.flush()
    ERR.print(Text(f"seed {seed}", style="dim"))


def output_dict(output: Output) -> dict[str, Any]:
    """One generated text as ``generate --json`` prints it."""
    combined = output.combined_logprob
    return {
        "text": output.text,
        "tokens": output.tokens,
        "logprob": output.logprob,
        "score": output.score,
        **({"weight": output.weight} if output.weight is not None else {}),
        "logprobs": list(output.logprobs),
        "stopped_by": output.stopped_by,
        "truncated": output.truncated,
        **({} if combined is None else {"combined_logprob": combined}),
        **({"speculation": output.speculation.to_dict()} if output.speculation else {}),
        **({"derivation": output.derivation.to_dict()} if output.derivation else {}),
        **(
            {"positions": [each.to_dict() for each in output.positions]} if output.positions else {}
        ),
    }


def stream_text(run: Run, prompt: str, prefix: str, pieces: Iterable[str]) -> str:
    """Print a text piece by piece, with the displayed parts of its prompt; return the text."""
    from wenmo.api.prompts import display_affixes

    before, after = display_affixes(run, prompt, prefix)
    pieces = iter(pieces)
    text = next(pieces, "")  # an invalid request raises here, before any output
    sys.stdout.write(before + text)
    for piece in pieces:
        sys.stdout.write(piece)
        sys.stdout.flush()
        text += piece
    sys.stdout.write(after + "\n")
    return text


def print_empty_text_note(
    run: Run, prompts: Sequence[str], groups: Iterable[Sequence[str]]
) -> None:
    """Print a note if all texts of a prompt are empty, since the output looks like a failure."""
    for prompt, group in zip(prompts, groups, strict=True):
        is_blank_source = run.task.paired and not prompt.strip()
        if not is_blank_source and not any(text.strip() for text in group):
            sys.stdout.flush()
            chat = f"; it was trained for conversations: wenmo chat {quote(str(run.folder))}"
            print_note(
                f"the model ended the text at once{chat if run.card.has_chat_template else ''}"
            )
            return


def print_texts(
    run: Run, prompts: Sequence[str], prefix: str, groups: Sequence[Sequence[str]]
) -> None:
    """Print several texts: one answer a line if each source has one, else each under a number."""
    from wenmo.api.prompts import display_affixes

    shown = [
        text.join(display_affixes(run, prompt, prefix))
        for prompt, group in zip(prompts, groups, strict=True)
        for text in group
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


def print_derivations(outputs: Sequence[Sequence[Output]]) -> None:
    """Print each text with the tree of the grammar rules that made it."""
    for output in (output for group in outputs for output in group):
        OUT.print(Text(output.text))
        if output.derivation is None:
            print_note("no derivation: only texts of a grammar have one")
        else:
            OUT.print(_tree(output.derivation))


def print_alternatives(outputs: Sequence[Sequence[Output]]) -> None:
    """Print each text, and below it a table: each token with its probability before and after
    processing, and the likeliest tokens in its place.
    """
    for output in (output for group in outputs for output in group):
        OUT.print(Text(output.text))
        table = Table(box=None, pad_edge=False)
        for column in ("token", "model", "processed", "likeliest: model (processed)"):
            right = column in ("model", "processed")
            table.add_column(column, justify="right" if right else "left", overflow="fold")
        for position in output.positions:
            written = position.written
            shown = ", ".join(
                f"{_visible(each)} {each.probability:.1%} ({each.processed:.1%})"
                for each in position.alternatives
            )
            figures = (f"{written.probability:.1%}", f"{written.processed:.1%}", shown)
            table.add_row(Text(_visible(written)), *map(Text, figures))
        OUT.print(table)


def _visible(candidate: Candidate) -> str:
    """A token with visible white space; the end of a text by its name."""
    return visible(candidate.token) or "END"


def print_lines(lines: Iterable[str]) -> None:
    """Print lines that explain the texts, apart from them."""
    for line in lines:
        ERR.print(Text(line, style="dim"))


def _tree(derivation: Derivation) -> Tree:
    label = Text(derivation.rule, style="bold").append(f" {derivation.alternative}", style="dim")
    if derivation.text != derivation.alternative:
        label.append(f" → {derivation.text}", style="default")
    tree = Tree(label)
    for child in derivation.children:
        tree.children.append(_tree(child))
    return tree


def write_alignments(folder: Path, alignments: Sequence[Alignment]) -> None:
    """Write attention weights to ``1.json``, ``1.svg`` and so on, and print the paths."""
    from wenmo.api import alignment_svg, write_text

    for number, each in enumerate(alignments, 1):
        write_text(folder / f"{number}.json", json.dumps(each.to_dict(), ensure_ascii=False))
        write_text(folder / f"{number}.svg", alignment_svg(each.source, each.target, each.weights))
    ERR.print(Text(f"alignments: {folder}/1.json, {folder}/1.svg and so on"))


def read_turn() -> str:
    """Read the user's turn; empty at the end of the input.

    Raises:
        WenmoError: standard input is closed or not in its encoding.
    """
    if sys.stdin is None:
        raise WenmoError("standard input is closed: chat reads your turns from it")
    try:
        return OUT.input(Text("> ", style="bold")).strip()
    except EOFError:
        return ""
    except UnicodeDecodeError as error:
        advice = "pass --encoding=NAME, such as gb18030"
        raise WenmoError(f"standard input: not valid {error.encoding}; {advice}") from None


def stream_reply(pieces: Iterable[str]) -> str:
    """Print a reply piece by piece; return it."""
    reply = ""
    for piece in pieces:
        sys.stdout.write(piece)
        sys.stdout.flush()
        reply += piece
    sys.stdout.write("\n")
    return reply


@dataclass(frozen=True)
class LatentText(Result):
    """A text that is decoded from given latents.

    Attributes:
        source: the text that was encoded to the latents, before any edit.
        share: the position between the two ends of a walk, from 0 to 1.
        output: the decoded text, as ``generate --json`` prints it.
    """

    source: str | None = None
    share: float | None = None
    output: dict[str, Any] = inlined(default_factory=dict)


def print_latent_texts(rows: Sequence[LatentText]) -> None:
    """Print texts, each under its source or its position on a walk."""
    for row in rows:
        title = f"{row.share:.0%}" if row.source is None else row.source
        OUT.print(Text(" ".join(title.split()), style="dim"))
        OUT.print(Text(row.output["text"]))

"""What the command line prints: a live line while training, tables, texts, JSON."""

from __future__ import annotations

import json
import math
import re
import sys
import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from shlex import quote
from types import TracebackType
from typing import TYPE_CHECKING, Any

from rich.cells import cell_len
from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text
from rich.tree import Tree

from wenmo.types import WenmoError, amount

if TYPE_CHECKING:
    from wenmo.api import Derivation, Event, Output, Run
    from wenmo.text.inspection import Inspection

OUT = Console(highlight=False, soft_wrap=True)
ERR = Console(highlight=False, stderr=True, soft_wrap=not sys.stderr.isatty())
METRIC_NAMES = {
    "bleu": "BLEU",
    "bleu_lowercase": "BLEU lower-cased",
    "chrf": "chrF",
    "ter": "TER",
    "rouge1": "ROUGE-1",
    "rouge2": "ROUGE-2",
    "rougeL": "ROUGE-L",
    "exact": "exact",
    "distinct1": "distinct-1",
    "distinct2": "distinct-2",
}
ANSWER = "\n→ "  # stands between source and answer in the sample of a run
RAW_BITS = 8.0  # per byte, of text as it is stored
INDENT = 4  # columns, of what follows the first line of a long note
FEW_ANSWERS = 16  # fewer pairs, and BLEU says next to nothing
SILENT_SECONDS = 2.0  # what is over sooner needs no progress


class Training:
    """The live line of a training or a scoring, and what stays on the screen above it."""

    def __init__(self) -> None:
        self._live = Live(console=ERR, refresh_per_second=4, transient=True)
        self._begun: dict[str, float] = {}
        self._rate = 0.0
        self._before: tuple[float, int] | None = None
        self._bits = math.nan
        self._latents = ""

    def __enter__(self) -> Training:
        if ERR.is_terminal:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        if self._live.is_started:
            self._live.update("")
            self._live.stop()

    def _show(self, line: str) -> None:
        """Put this on the live line, which is kept to one row, with room for the ``^C`` that a
        terminal adds: what has wrapped cannot be taken back.
        """
        self._live.update(Text(cut(line, ERR.width - 4)))

    def on_progress(self, what: str, share: float | None) -> None:
        """A note, or the progress of something that comes before or after training."""
        if share is None:
            print_line(what)
            return
        if share >= 1:
            self._show("")
        begun = self._begun.setdefault(what, time.perf_counter())
        seconds = time.perf_counter() - begun
        if seconds > SILENT_SECONDS and 0 < share < 1:
            left = seconds * (1 - share) / share
            self._show(f"{what} {share:.0%}, {_clock(left)} left")

    def on_event(self, event: Event) -> None:
        """An event of training."""
        position = event.position
        if event.kind == "step" and event.learned is not None:
            self._measure(position.seconds, position.tokens)
            self._show(" · ".join(self._parts(event)))
        elif event.kind == "evaluation":
            self._bits = event.figures["bits_per_byte"]
            self._latents = _latents_line(event.figures)
            held = [f"held out {self._bits:.3f} bits per byte{self._latents}"]
            held.append(f"perplexity {_number(event.figures['perplexity'], 2)}")
            for name, value in event.figures.items():
                if name in METRIC_NAMES:
                    held.append(f"{METRIC_NAMES[name]} {value:.1f}")
            for line in in_lines([*self._parts(event, speed=False), *held]):
                ERR.print(Text(line))
        elif event.kind == "sample":
            ERR.print(Text(f"    {cut_sample(event.text, columns() - 4)}", style="dim"))
        elif event.kind == "note":
            note(event.text)

    def _parts(self, event: Event, speed: bool = True) -> list[str]:
        position, learned = event.position, event.learned
        parts = [f"{event.progress:4.0%}", f"step {position.step:,}"]
        if learned is not None and math.isfinite(learned.loss):
            parts.append(f"loss {learned.parts.get('nats', learned.loss):.3f}")
        if learned is not None and "kl" in learned.parts:
            weight = learned.parts["kl_weight"]
            parts.append(f"KL {learned.parts['kl']:.2f} at weight {weight:.2f}")
        if learned is not None and "critic_right" in learned.parts:
            parts[-1] = f"critic {learned.loss:.3f}, right {learned.parts['critic_right']:.0%}"
        if event.kind == "step" and math.isfinite(self._bits):
            parts.append(f"{self._bits:.3f} bits per byte{self._latents}")
        if self._rate and speed:
            parts.append(f"{self._rate:,.0f} tokens/s")
        if 0 < event.progress < 1 and event.seconds_left is not None:
            parts.append(f"{_clock(event.seconds_left)} left")
        return parts

    def _measure(self, seconds: float, tokens: int) -> None:
        """A running mean of tokens a second."""
        if self._before is not None and seconds > self._before[0]:
            rate = (tokens - self._before[1]) / (seconds - self._before[0])
            self._rate += 0.1 * (rate - self._rate) if self._rate else rate
        self._before = (seconds, tokens)


def columns() -> int:
    """How many columns a line of notes may fill: those of the terminal, at most 100."""
    return min(ERR.width, 100)


def in_lines(parts: Sequence[str]) -> list[str]:
    """Parts with dots between them: on a terminal in lines of its width, else in one line."""
    lines = [parts[0]]
    for part in parts[1:]:
        longer = f"{lines[-1]} · {part}"
        if ERR.is_terminal and cell_len(longer) > ERR.width:
            lines.append(f"    {part}")
        else:
            lines[-1] = longer
    return lines


def aligned(rows: Sequence[Sequence[str]], right: Collection[int] = ()) -> list[str]:
    """Rows of cells as lines, with two columns of space between the widest cells.

    Args:
        right: the columns whose cells stand at the right.
    """
    widths = [max(map(cell_len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for row in rows:
        filled = (
            " " * (width - cell_len(cell)) + cell
            if number in right
            else cell + " " * (width - cell_len(cell))
            for number, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        lines.append("  ".join(filled).rstrip())
    return lines


def cut(text: str, width: int) -> str:
    """A text in one line of at most ``width`` terminal columns, with an ellipsis where it is cut.

    A Chinese character takes two columns, a combining mark none.
    """
    line = Text(" ⏎ ".join(line.strip() for line in text.splitlines() if line.strip()))
    line.expand_tabs(1)
    line.truncate(width, overflow="ellipsis")
    return line.plain


def cut_sample(text: str, width: int) -> str:
    """A sample of a run in one line, as `cut`; of a pair, the source is cut before the answer.

    Where both are long, the source takes a third of the width.
    """
    source, arrow, answer = text.rpartition(ANSWER)
    room = width - cell_len(" → ")
    if not arrow or room < 2:
        return cut(text, width)
    needed = min(cell_len(cut(answer, width)), room - room // 3)
    source = cut(source, room - needed)
    return f"{source} → {cut(answer, room - cell_len(source))}"


def note(text: str) -> None:
    """Something the user should know, apart from the result."""
    print_line(text, style="yellow")


def print_line(text: str, style: str = "") -> None:
    """Print a line on standard error: on a terminal, a long one is wrapped between words, and what
    follows is indented; elsewhere it stays one line.
    """
    if not ERR.is_terminal or cell_len(text) <= ERR.width:
        ERR.print(Text(text, style), soft_wrap=True)
        return
    first = Text(text).wrap(ERR, ERR.width)[0].plain
    ERR.print(Text(first, style))
    rest = Text(text[len(first) :].lstrip(), style).wrap(ERR, max(1, ERR.width - INDENT))
    for each in rest:
        ERR.print(Text(" " * INDENT).append_text(each))


def print_json(value: Mapping[str, Any]) -> None:
    """One JSON object on standard output; figures that are not numbers become null."""
    value = _finite(value)
    text = json.dumps(value, ensure_ascii=False)
    print(json.dumps(value) if re.search("[\ud800-\udfff]", text) else text)


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
        **({"derivation": written.derivation.plain()} if written.derivation else {}),
    }


def stream(run: Run, prompt: str, prefix: str, pieces: Iterable[str]) -> str:
    """Show a text as it comes, with what a person needs to see of its prompt; return the text."""
    before, after = run.display_affixes(prompt, prefix)
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
            note(f"the model ended the text at once{chat if run.is_chat else ''}")
            return


def texts(run: Run, prompts: Sequence[str], prefix: str, groups: Sequence[Sequence[str]]) -> None:
    """Many texts: a line for each prompt where each has one answer, else each under a number."""
    shown = [
        written.join(run.display_affixes(prompt, prefix))
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
    for inner in derivation.inside:
        tree.children.append(_tree(inner))
    return tree


def alignments(folder: Path, aligned: Sequence[Mapping[str, Any]]) -> None:
    """Write what attended to what, ``1.json``, ``1.svg`` and so on, and say where."""
    from wenmo.api import alignment_svg, write_file

    for number, each in enumerate(aligned, 1):
        write_file(folder / f"{number}.json", json.dumps(each, ensure_ascii=False))
        write_file(folder / f"{number}.svg", alignment_svg(**each))
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


def opened(run: Run) -> Run:
    """Tell what the user of a model should know, and give it on."""
    if run.card.note is not None:
        note(run.card.note)
    return run


def trained(run: Run) -> None:
    """What a training came to, and what to do next."""
    results = run.card.results
    heldout = results["heldout"]
    table = Table(show_header=False, box=None)
    table.add_row("held out", likelihood_line(heldout))
    if "sample" in heldout:
        table.add_row("", _sample_line(heldout))
    if "latents" in heldout:
        table.add_row("latents", _latents_line(heldout).removeprefix(", "))
    for row in _answer_rows(heldout):
        table.add_row(*row)
    if "forgetting" in results:
        before, after = results["forgetting"]["before"], results["forgetting"]["after"]
        table.add_row("reference", f"{before:.4f} bits per byte before, {after:.4f} after")
    for name in results.get("tradeoff", {}).get("verdicts", {}):
        table.add_row(f"and {name}", likelihood_line(heldout[name]))
    steps = results["steps"]
    seconds = results.get("time", {}).get("total", results["seconds"])  # with all evaluations
    table.add_row("training", f"{_clock(seconds)}, {amount(steps, 'step')}")
    table.add_row("parameters", f"{results['parameters']:,}")
    if results["characters_per_second"] is not None:
        table.add_row("writing", f"{results['characters_per_second']:,.0f} characters/s")
    if "sampling" in results:
        table.add_row("writes at", sampling_line(results["sampling"]))
    for name, line in verdict(results.get("verdict")):
        table.add_row(name, line)
    table.add_row("run folder", str(run.folder))
    OUT.print(table)
    if "tradeoff" in results:
        tradeoff(results["tradeoff"])
        OUT.print(f"drawn: {run.folder / 'tradeoff.svg'}")
    OUT.print(f"\nNext: {use(run.folder, run.task.name)}", markup=False)


def _answer_rows(heldout: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The metrics of what pairs were answered, or that time was too short to measure any."""
    metrics = heldout.get("metrics", {})
    answered = min((metric["texts"] for metric in metrics.values()), default=0)
    if metrics and answered < min(FEW_ANSWERS, heldout["pairs"]):
        told = f"{answered} of {amount(heldout['pairs'], 'held-out pair')} written in time: "
        return [("answers", f"{told}too few to measure (full_evaluation=true: all)")]
    return [(METRIC_NAMES[name], _metric_line(metric)) for name, metric in metrics.items()]


def use(folder: Path, task: str) -> str:
    """The command that uses a run: to chat, or to generate."""
    name = quote(str(folder))
    return f"wenmo chat {name}" if task == "dialogue" else f'wenmo generate {name} --prompt "..."'


def _sample_line(heldout: Mapping[str, Any]) -> str:
    """What a sample of the held-out text tells of all of it."""
    share = heldout["sample"]["share"]
    told = f"{heldout['low']:.3f}–{heldout['high']:.3f} (95%), " if "low" in heldout else ""
    return f"{told}{share:.1%} of it; all: full_evaluation=true"


def sampling_line(chosen: Mapping[str, Any]) -> str:
    """Temperature and top-p of a run, and the share of what is new that is highest beside that of
    held-out text.
    """
    told = f"temperature {chosen['temperature']:g}"
    if chosen["top_p"] < 1:
        told += f", top-p {chosen['top_p']:g}"
    written, heldout = chosen["written"], chosen["heldout"]
    if written is None:
        return f"{told} ({chosen['reason']})"
    told_of = [name for name in ("new_words", "new_pairs") if written[name] or heldout[name]]
    name = max(told_of or ["new_words"], key=lambda each: written[each] - heldout[each])
    shares = f"{name.replace('_', ' ')} {written[name]:.1%} (held-out text {heldout[name]:.1%})"
    return f"{told}: {shares}"


def verdict(found: Mapping[str, Any] | None) -> list[tuple[str, str]]:
    """What a run is worth, in short lines, each with its name."""
    if found is None:
        return []
    lines = []
    own, counts = found["bits_per_byte"], found["counts_bits_per_byte"]
    if own is not None and own > RAW_BITS:
        lines.append(("quality", f"worse than raw bytes: {own:.3f} bits per byte, those take 8"))
    elif own is not None and counts is not None:
        share = found.get("counts_share", 1.0)
        of = f" of {share:.0%} of the text" if share < 1 else ""
        beside = f"bits per byte {{}} {'' if of else 'plain '}counts{of} ({own:.3f}, {counts:.3f})"
        if own <= counts:
            lines.append(("quality", f"{counts - own:.3f} {beside.format('below')}"))
        else:
            lines.append(("quality", f"worse: {own - counts:.3f} {beside.format('above')}"))
    if found["originality"] is not None:
        lines.append(("samples", _originality_line(found["originality"])))
    if found["forecast"] is not None:
        lines.append(("more time", _forecast_line(found["forecast"])))
    return [*lines, ("to try", found["advice"])]


def _originality_line(found: Mapping[str, Any]) -> str:
    told = []
    if found["invented_words"] is not None:
        told.append(f"new words {found['invented_words']:.1%}")
        told.append(f"new characters {found['invented_characters']:.1%}")
    told.append(f"repeated {found['repeated']:.0%}")
    told.append(f"longest copy {found['longest_copy']}")
    return ", ".join(told)


def _forecast_line(ahead: Mapping[str, Any]) -> str:
    """What twice the time would gain."""
    if ahead["overfits"]:
        return f"gains nothing: best at {ahead['best_at']:.0%}, then learnt by heart"
    low, high = ahead["low"], ahead["high"]
    return f"twice as much: {ahead['gain']:.3f} bits per byte less ({low:.3f}–{high:.3f})"


def figures(figures: Mapping[str, Any]) -> None:
    """The figures of an evaluation."""
    OUT.print(likelihood_line(figures))
    OUT.print(f"{amount(figures['tokens'], 'token')}, {amount(figures['bytes'], 'byte')}")
    _records(figures)
    for name, other in figures.items():
        if isinstance(other, Mapping) and "nats_per_record" in other and "samples" not in other:
            OUT.print(f"{name}: {likelihood_line(other)}")
    if "metrics" not in figures:
        return
    for line in aligned(
        [(METRIC_NAMES[n], _metric_line(m)) for n, m in figures["metrics"].items()]
    ):
        OUT.print(line)
    if figures["pairs_left_out"] or figures["sources_cut"]:
        left_out = amount(figures["pairs_left_out"], "target")
        shortened = amount(figures["sources_cut"], "source")
        note(f"too long for the model: {left_out} left out, {shortened} cut")


def _records(figures: Mapping[str, Any]) -> None:
    """What is told of records that were scored as wholes."""
    if "records" not in figures:
        return
    OUT.print(f"{amount(figures['records'], 'record')}, {figures['nats_per_record']:.2f} nats each")
    if "latents" in figures:
        OUT.print(_latents_line(figures).removeprefix(", "))
    if "importance_weighted" in figures:
        weighted = figures["importance_weighted"]
        OUT.print(
            f"by {amount(weighted['samples'], 'importance-weighted draw')}: "
            f"{likelihood_line(weighted)}, {weighted['nats_per_record']:.2f} nats a record"
        )
    if figures["records_left_out"]:
        note(f"too long for the model: {amount(figures['records_left_out'], 'record')} left out")


def from_latents(rows: Sequence[Mapping[str, Any]]) -> None:
    """Texts, each under what it comes from: a text, or its place on a walk."""
    for row in rows:
        told = row["source"] if "source" in row else f"{row['share']:.0%}"
        OUT.print(Text(" ".join(told.split()), style="dim"))
        OUT.print(Text(row["text"]))


def tradeoff(found: Mapping[str, Any]) -> None:
    """Quality and diversity at each temperature, and who wins."""
    table = Table(box=None, pad_edge=False)
    for column in ("", "temperature", "BLEU-2 to 5", "Self-BLEU-2 to 5"):
        table.add_column(column, justify="right" if column else "left", overflow="fold")
    for name, curve in found["curves"].items():
        for place, point in enumerate(curve):
            told = (
                " ".join(f"{value:.3f}" for value in point[kind].values())
                for kind in ("bleu", "self_bleu")
            )
            table.add_row("" if place else Text(name), f"{point['temperature']:g}", *told)
    OUT.print(table)
    for name, own in found["verdicts"].items():
        OUT.print(Text(f"beside {name}: {own['text']}"))


def explained(rows: Sequence[Mapping[str, Any]]) -> None:
    """A text token by token, each with what was expected and who said it."""
    mixed = any("voices" in row for row in rows)
    table = Table(box=None, pad_edge=False)
    for column in ("token", "probability", "rank", "expected", *(["said by"] if mixed else [])):
        right = column in ("probability", "rank")
        table.add_column(column, justify="right" if right else "left", overflow="fold")
    for row in rows:
        expected = f"{_visible(row['likeliest'])} {row['likeliest_probability']:.0%}"
        figures = (
            f"{row['probability']:.2%}",
            str(row["rank"]),
            "" if row["rank"] == 1 else expected,
        )
        table.add_row(Text(_visible(row["token"])), *map(Text, figures), *_loudest(row))
    OUT.print(table)


def _loudest(row: Mapping[str, Any]) -> list[str]:
    """The two voices that gave most of a token's probability."""
    voices = sorted(row.get("voices", []), key=lambda voice: -voice["share"])[:2]
    told = [f"{voice['name']} {voice['share']:.0%}" for voice in voices if voice["share"] >= 0.01]
    return [", ".join(told)] if voices else []


def _visible(token: str) -> str:
    """A token with its blanks to be seen."""
    return token.replace(" ", "␣").replace("\n", "⏎").replace("\t", "⇥")


def planned(plan: Mapping[str, Any]) -> None:
    """What training would take."""
    gib = 1 << 30
    flops, attention = plan["training_flops"], plan["attention_flops"]
    rows = {
        "weights": f"{plan['parameters']:,}",
        "tokens": f"{plan['tokens']:,.0f}",
        "training": f"{flops:.3g} FLOPs, and {attention:.3g} for attention",
        "speed": f"{plan['tokens_per_second']:,.0f} tokens/s on {plan['gpus']:,} {plan['gpu']} "
        f"at {plan['utilization']:.0%}",
        "time": f"{plan['days']:,.2f} days",
        "cost": f"${plan['dollars']:,.0f}",
        "fewest GPUs": "no number: use fewer rows, or GPUs with more memory"
        if plan["fewest_gpus"] is None
        else f"{plan['fewest_gpus']:,} (all divided and recomputed)",
    }
    facts = Table(box=None, show_header=False)
    for name, value in rows.items():
        facts.add_row(name, Text(value))
    OUT.print(facts)
    memory = Table(box=None, pad_edge=False, title="GiB on each GPU", title_justify="left")
    for column in ("sharding", "weights", "gradients", "optimizer", "activations", "recomputed"):
        memory.add_column(column, justify="left" if column == "sharding" else "right")
    memory.add_column("fits")
    for row in plan["memory"]:
        sizes = ("weights", "gradients", "optimizer", "activations", "activations_recomputed")
        fits = "yes" if row["fits"] else "recomputed" if row["fits_recomputed"] else "no"
        memory.add_row(row["sharding"], *(f"{row[size] / gib:,.1f}" for size in sizes), fits)
    OUT.print(memory)


def families(entries: Sequence[Mapping[str, Any]]) -> None:
    """The catalogue, a line each."""
    table = Table(box=None, pad_edge=False)
    for column in ("model", "good for", "sizes"):
        table.add_column(column, overflow="fold")
    for entry in entries:
        table.add_row(entry["name"], entry["good_for"], " ".join(entry["sizes"]))
    Console(highlight=False).print(table)
    OUT.print("\nSettings of one: wenmo models NAME · a size: --model gpt:tiny")


def family(entry: Mapping[str, Any]) -> None:
    """One family: its settings with their defaults, and its sizes with their settings."""
    OUT.print(f"{entry['name']}: {entry['good_for']}")
    table = Table("setting", "default", box=None, pad_edge=False)
    for name, value in entry["settings"].items():
        table.add_row(name, json.dumps(value))
    OUT.print(table)
    for size, changes in entry["size_settings"].items():
        shown = " ".join(f"{k}={json.dumps(v)}" for k, v in changes.items())
        OUT.print(f"{entry['name']}:{size}  {shown}")


def compared(rows: Sequence[Mapping[str, Any]]) -> None:
    """Runs beside each other on one text, and why some could not be scored."""
    scored = [row for row in rows if "problem" not in row]
    bounded = any("low" in row for row in scored)
    cells = [("run", "model", "bits/byte", "95 %" if bounded else "", "nats/token", "tokens")]
    for row in scored:
        low, high = row.get("low"), row.get("high")
        cells.append(
            (
                row["run"],
                row["model"],
                f"{'≤ ' if row['bound'] else ''}{_number(row['bits_per_byte'], 4)}",
                "" if low is None else f"{low:.4f} to {high:.4f}",
                _number(row["nats_per_token"], 4),
                f"{row['tokens']:,}",
            )
        )
    for line in aligned(cells, right={2, 3, 4, 5}) if scored else []:
        OUT.print(Text(line))
    for row in rows:
        if "problem" in row:
            note(f"{row['run']}: not scored: {row['problem']}")


def likelihood_line(figures: Mapping[str, Any]) -> str:
    if figures["bits_per_byte"] == math.inf:
        return "impossible: some of the text has no probability at all (wenmo explain tells where)"
    sign = "≤ " if figures["bound"] else ""
    return (
        f"{sign}{figures['bits_per_byte']:.4f} bits per byte, "
        f"{figures['nats_per_token']:.4f} nats per token, perplexity "
        f"{_number(figures['perplexity'], 2)}"
    )


def inspected(found: Inspection) -> None:
    """What training would read of some data."""
    for line in found.lines:
        OUT.print(Text(line))
    if found.split is not None:
        train, valid = (found.split[part] for part in ("train", "valid"))
        OUT.print(
            f"split: {train['bytes']:,} bytes to train on, {valid['bytes']:,} held out: "
            f"{found.split['held_out']}"
        )
    for sample in found.samples:
        texts = [cut(text, columns() // len(sample) - 5) for text in sample.values()]
        OUT.print(Text("    " + " → ".join(texts), style="dim"))
    for line in found.suggestions:
        OUT.print(Text(f"try {line}"))
    for line in found.warnings:
        note(line)


def _number(value: float, decimals: int) -> str:
    """A figure with so many decimals; with an exponent where it would fill the line."""
    if not math.isfinite(value):
        return "infinite"
    return f"{value:.{decimals}f}" if abs(value) < 1e6 else f"{value:.2e}"


def _latents_line(figures: Mapping[str, Any]) -> str:
    if "latents" not in figures:
        return ""
    return (
        f", KL {figures['kl']:.2f}, mutual information {figures['mutual_information']:.2f}, "
        f"{figures['active_latents']} of {figures['latents']} latents active"
    )


def _metric_line(metric: Mapping[str, Any]) -> str:
    """A metric with its interval, or with how few texts it was measured on."""
    if metric["low"] is None:
        return f"{metric['value']:.2f} ({amount(metric['texts'], 'pair')})"
    return f"{metric['value']:.2f} ({metric['low']:.2f} to {metric['high']:.2f})"


def _clock(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    return (
        f"{minutes} min {rest:02} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02} min"
    )


def _finite(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return value

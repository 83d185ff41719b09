"""The command line: ``wenmo train``, ``generate``, ``chat``, ``evaluate``, ``models``, ``demo``.

A shell without ideas of its own: each command parses, calls the facade, and prints. With ``--json``
one JSON object goes to standard output; all else goes to standard error. Exit codes: 0 done, 2 the
user's input, 1 our fault, 130 interrupted. PyTorch is loaded only inside the commands.
"""

from __future__ import annotations

import os
import sys
import time
import traceback
from json import dumps
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from wenmo import IMPORTED_AT, __version__
from wenmo.apps.cli import library, option, streams
from wenmo.apps.cli.compare import compare
from wenmo.apps.cli.declared import expand
from wenmo.apps.cli.inspection import inspect
from wenmo.apps.cli.latent import latent
from wenmo.apps.cli.tradeoff import tradeoff
from wenmo.runs import preflight
from wenmo.types import WenmoError


class Commands(TyperGroup):
    """Commands whose names are taken in any case, and the nearest offered for one that is wrong."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        name = args[0].lower()
        if name not in self.commands and len(begun := self._beginning_with(name)) > 0:
            raise WenmoError(f"no such command {args[0]!r}; did you mean {' or '.join(begun)}?")
        return super().resolve_command(ctx, [name, *args[1:]])

    def _beginning_with(self, name: str) -> list[str]:
        """The commands that a name is the beginning of, quoted."""
        return [repr(command) for command in self.commands if command.startswith(name)]


app = typer.Typer(
    cls=Commands,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={
        "help_option_names": ["-h", "--help"],
        "token_normalize_func": str.lower,  # --Model and TRAIN are taken, too
    },
)


PIPE_CLOSED = 141  # what a shell makes of a program that SIGPIPE ended


@app.callback(invoke_without_command=True)
def overview(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Show the version and exit.")] = False,
) -> None:
    """wenmo 文墨: train, compare and run text generators on your own text."""
    if version:
        print(f"wenmo {__version__}")
    elif context.invoked_subcommand is None:
        print(context.get_help())


@app.command()
@expand
def train(
    context: typer.Context,
    data: option.Data,
    settings: option.Settings = None,
    model: option.Model = None,
    out: option.Out = None,
    prior: option.Prior = None,
    *,
    training: option.Training,
    control: option.ControlFields = None,
    target: option.Target = None,
    valid: option.Valid = None,
    valid_target: option.ValidTarget = None,
    recipe: option.Recipe = None,
    base: option.Base = None,
    reference: option.Reference = None,
    json: option.Json = False,
) -> None:
    """Train a generator on your text. The same command goes on where it was interrupted."""
    given = [f"{key}={value}" for key, value in training.items()]
    if prior is not None:
        given.append(f"ngram_prior.enabled={preflight.prior_value(prior)}")
    if control is not None:
        given.append(f"task.control={dumps(control.split(','))}")
    changes = [*given, *(settings or [])]
    preflight.check_training(
        data,
        (target, valid, valid_target, reference),
        model=model,
        base=base,
        recipe=recipe,
        out=out,
        settings=changes,
    )
    from wenmo.api import fit
    from wenmo.apps.cli import show

    with show.Training() as watcher:
        run = fit(
            data,
            model=model,
            out=out,
            target=target,
            valid=valid,
            valid_target=valid_target,
            recipe=recipe,
            base=base,
            reference=reference,
            settings=changes,
            on_event=watcher.on_event,
            on_progress=watcher.on_progress,
            started=context.obj,
        )
    if json:
        show.print_json({"run": str(run.folder), **run.card.results})
    else:
        show.trained(run)


@app.command()
@expand
def generate(
    run: option.RunFolder,
    prompt: option.Prompt = None,
    input: option.Input = None,  # noqa: A002 - the option's name
    encoding: option.Encoding = None,
    control: option.Control = None,
    prefix: option.Prefix = "",
    alignments: option.Alignments = None,
    n: option.Count = 1,
    *,
    sampling: option.Writing,
    grammar: option.ConstrainingGrammar = None,
    derivations: option.Derivations = False,
    json: option.Json = False,
) -> None:
    """Write text with a trained run, or by the rules of a grammar."""
    preflight.check_run(run)
    preflight.check_paths(input, grammar)
    from wenmo.api import draw_seed, load, read_prompts
    from wenmo.api.prompts import chooses_gap, ignores_gap, kept_part, unknown_characters
    from wenmo.apps.cli import show

    opened = show.opened(load(run))
    about: dict[str, Any] = {"control": _pairs(control), "prefix": prefix, "grammar": grammar}
    if "logit_bias" in sampling:
        sampling["logit_bias"] = opened.logit_bias(sampling["logit_bias"])
    # A new seed is told where it decides the texts.
    fresh = "seed" not in sampling and opened.generator.draws(**sampling)
    chosen = sampling.setdefault("seed", draw_seed())
    asked = about | sampling
    prompts = list(prompt or [])
    if input:
        with show.Training() as watcher:
            prompts += read_prompts(
                input, opened, encoding=encoding, on_progress=watcher.on_progress
            )
    prompts = prompts or [""]
    if cut := next(filter(None, (kept_part(opened, each) for each in prompts)), None):
        show.note(f"a prompt is longer than the model can read: only its {cut} is read")
    if any(ignores_gap(opened, each) for each in prompts):
        show.note(
            "a gap is read as it stands, for this run fills none: --model masked does, and so does "
            "what is trained with --task infilling"
        )
    for line in opened.generator.resolve_control(_pairs(control))[1]:
        show.note(line)
    plain = not (json or alignments or derivations)
    if len(prompts) == n == 1 and plain:
        texts = [[show.stream(opened, prompts[0], prefix, opened.stream(prompts[0], **asked))]]
    elif plain:
        texts = opened.texts(prompts, n, **asked)
        show.texts(opened, prompts, prefix, texts)
    else:
        outputs = opened.write(prompts, n, **asked)
        texts = [[output.text for output in group] for group in outputs]
    if alignments is not None:
        aligned = [
            opened.align(prompt, output, control=about["control"], prefix=prefix)
            for prompt, group in zip(prompts, outputs, strict=True)
            for output in group
            if output.ids  # a blank line among sources has no text
        ]
        show.alignments(alignments, aligned)
    if json:
        plain_outputs = [show.output(output) for group in outputs for output in group]
        show.print_json({"seed": chosen, "outputs": plain_outputs})
    elif derivations:
        show.derivations(outputs)
    elif alignments is not None:
        show.texts(opened, prompts, prefix, texts)
    show.empty_texts(opened, prompts, texts)
    if unknown := unknown_characters(opened, prompts):
        shown = unknown[:20] + "…" * (len(unknown) > 20)
        show.note(f"characters that the training text does not have: {shown}")
    if n > 1 and opened.generator.repeats(**sampling):
        show.note(f"greedy text is the same every time: -n {n} repeats it; drop -n, or sample")
    if any(chooses_gap(opened, each, **sampling) for each in prompts):
        show.note("the model chose the length of the gap: --gap-tokens N sets it (in tokens)")
    if fresh:
        show.seed(chosen)


@app.command()
@expand
def chat(
    run: option.RunFolder,
    control: option.Control = None,
    *,
    sampling: option.ReplyWriting,
    system: option.System = None,
    encoding: option.StdinEncoding = None,
) -> None:
    """Talk with a run that was trained on dialogue; an empty line ends it."""
    preflight.check_run(run)
    from wenmo.api import draw_seed, load
    from wenmo.apps.cli import show

    if encoding is not None:
        streams.read_as(encoding)
    opened = show.opened(load(run))
    opened.generator.require("dialogue")
    for line in opened.generator.resolve_control(_pairs(control))[1]:
        show.note(line)
    fresh = "seed" not in sampling and opened.generator.draws(**sampling)
    first = sampling.get("seed", draw_seed())
    turns: list[str] = []
    while turn := show.ask():
        turns.append(turn)
        sampling["seed"] = first + len(turns)
        pieces = opened.reply(turns, control=_pairs(control), system=system, **sampling)
        turns.append(show.reply(pieces))
        if fresh and len(turns) == 2:
            show.seed(first)


@app.command()
@expand
def evaluate(
    run: option.RunFolder,
    data: option.Data,
    settings: option.ReadingSettings = None,
    target: option.Target = None,
    window: option.Window = None,
    stride: option.Stride = None,
    dynamic: option.Dynamic = None,
    cache: option.Cache = None,
    samples: option.Samples = None,
    *,
    read: option.Reading,
    encoding: option.Encoding = None,
    sampling: option.AnswerWriting,
    seed: option.AnswerSeed = 0,
    json: option.Json = False,
) -> None:
    """Score a text: bits per byte, nats per token, perplexity; and for pairs, the answers."""
    reading = [*(f"{key}={value}" for key, value in read.items()), *(settings or [])]
    preflight.check_run(run)
    preflight.check_paths(data, target)
    preflight.check_reading(reading)
    from wenmo.api import load
    from wenmo.apps.cli import show

    with show.Training() as watcher:
        evaluation = show.opened(load(run)).evaluate(
            data,
            target=target,
            encoding=encoding,
            window=window,
            stride=stride,
            dynamic=dynamic,
            cache=cache,
            samples=samples,
            settings=reading,
            on_progress=watcher.on_progress,
            seed=seed,
            **sampling,
        )
    if json:
        show.print_json(evaluation)
    else:
        show.evaluation(evaluation)


@app.command()
def explain(run: option.RunFolder, text: option.Text, json: option.Json = False) -> None:
    """Token by token: how likely a text is, what was expected, and who in a mixture said so."""
    preflight.check_run(run)
    from wenmo.api import load
    from wenmo.apps.cli import show

    rows = show.opened(load(run)).explain(text)
    if json:
        show.print_json({"tokens": rows})
    else:
        show.explained(rows)


app.command()(expand(latent))
app.command()(expand(tradeoff))
app.command("runs")(library.runs)
app.command("show")(library.show_run)
app.command()(compare)
app.command()(expand(inspect))
app.command("rm")(library.rm)


@app.command()
def export(
    run: option.RunFolder,
    to: option.To,
    out: option.ExportOut,
    precision: option.ExportPrecision = None,
    network_only: option.NetworkOnly = False,
) -> None:
    """Write a model for other programs: huggingface, gguf, onnx, arpa or grammar."""
    preflight.check_run(run)
    to = preflight.check_format(to)
    from wenmo.api import load
    from wenmo.apps.cli import show

    told = load(run).export(to, out, precision=precision, network_only=network_only)
    if told is not None:
        show.note(told)
    show.note(f"written: {out}")


@app.command()
def plan(
    model: option.PlannedModel,
    settings: option.ModelSettings = None,
    vocab_size: option.VocabSize = 50_257,
    gpu: option.Gpu = "h100",
    gpus: option.Gpus = 8,
    tokens: option.Tokens = None,
    utilization: option.Utilization = 0.4,
    rows: option.Rows = 1,
    price: option.Price = None,
    json: option.Json = False,
) -> None:
    """What training a model of any size would take: memory, days, dollars, and how many GPUs."""
    from wenmo import api as workbench
    from wenmo.apps.cli import show

    planned = workbench.plan(
        model,
        settings or [],
        vocab_size=vocab_size,
        gpu=gpu,
        gpus=gpus,
        tokens=tokens,
        utilization=utilization,
        rows=rows,
        price=price,
    )
    if json:
        show.print_json(planned)
    else:
        show.planned(planned)


@app.command()
def models(
    family: Annotated[str | None, typer.Argument(help="Show all settings of this family.")] = None,
    json: option.Json = False,
) -> None:
    """Every family of generators, what it is good for, its sizes and settings."""
    if family is not None:
        family = preflight.check_family(family)
    from wenmo.api import catalogue
    from wenmo.apps.cli import show

    entries = catalogue(family)
    if json:
        show.print_json({"models": entries})
    elif family is None:
        show.families(entries)
    else:
        show.family(entries[0])


@app.command()
def demo(
    out: Annotated[Path, typer.Option(help="Where the run folders go.")] = Path("runs/demo"),
    seconds: Annotated[
        float, typer.Option(envvar="WENMO_DEMO_SECONDS", min=1, help="For each neural model.")
    ] = 60.0,
    json: option.Json = False,
) -> None:
    """Train an n-gram, an LSTM and a GPT on Shakespeare's plays, and compare them."""
    from wenmo.apps.cli.demo import run_demo

    run_demo(out, seconds, json)


def _pairs(settings: list[str] | None) -> dict[str, str]:
    """``FIELD=VALUE`` strings as a dict.

    Raises:
        WenmoError: one has no ``=``.
    """
    wrong = [setting for setting in settings or [] if "=" not in setting]
    if wrong:
        raise WenmoError(f"--control {wrong[0]!r} has no '=': write FIELD=VALUE")
    return {field: value for field, _, value in (s.partition("=") for s in settings or [])}


def main() -> None:
    """Run the command line; every failure becomes one line and its exit code."""
    streams.prepare()
    code = run(IMPORTED_AT)
    if code == PIPE_CLOSED:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(code)


def run(started: float | None = None) -> int:
    """Run the command in ``sys.argv``; return its exit code.

    Args:
        started: when it started, as `time.perf_counter` tells it; None: now.
    """
    try:
        with streams.warnings_as_lines():
            code = app(standalone_mode=False, obj=started or time.perf_counter())
        sys.stdout.flush()
    except WenmoError as error:
        return _fail(str(error), 2)
    except typer.TyperException as error:  # a wrong option or argument
        return _fail(" ".join(error.format_message().split()), 2)
    except SystemExit as end:
        return 0 if end.code in (None, 0) else PIPE_CLOSED
    except BrokenPipeError:  # the reader of our output went away, as `head` does
        return PIPE_CLOSED
    except KeyboardInterrupt:
        return _fail("interrupted", 130)
    except OSError as error:  # the machine refused something: a full disk, a folder without access
        return _fail(f"{error.filename or 'output'}: {error.strerror}", 2)
    except Exception as error:
        if type(error).__name__ == "Interrupted":  # importing its class would load PyTorch
            return _fail(str(error), 130)
        traceback.print_exc()
        return _fail("this is a fault of wenmo's, not yours: please report it", 1)
    return code if isinstance(code, int) else 0


def _fail(message: str, code: int) -> int:
    print(f"wenmo: {message}", file=sys.stderr)
    return code

"""The command line: ``wenmo train``, ``generate``, ``chat``, ``evaluate``, ``models``, ``demo``.

Each command parses its arguments, calls `wenmo.api` and prints the result. With ``--json`` it
prints one JSON object on standard output and everything else on standard error. Exit codes: 0
success, 1 a bug of wenmo, 2 wrong input, 130 interrupted. Only the commands import PyTorch.
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
from wenmo.apps.cli import option, run_folders, streams
from wenmo.apps.cli.compare import compare
from wenmo.apps.cli.generate import generate, parse_control
from wenmo.apps.cli.inspection import inspect
from wenmo.apps.cli.latent import latent
from wenmo.apps.cli.option_groups import expand_options
from wenmo.apps.cli.tradeoff import tradeoff
from wenmo.runs import preflight
from wenmo.types import WenmoError


class CommandGroup(TyperGroup):
    """Commands with case-insensitive names. A message offers the nearest one for a wrong name."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        name = args[0].lower()
        if name not in self.commands and (matches := self._names_with_prefix(name)):
            raise WenmoError(f"no such command {args[0]!r}; did you mean {' or '.join(matches)}?")
        return super().resolve_command(ctx, [name, *args[1:]])

    def _names_with_prefix(self, prefix: str) -> list[str]:
        """The quoted names of the commands that start with ``prefix``."""
        return [repr(command) for command in self.commands if command.startswith(prefix)]


app = typer.Typer(
    cls=CommandGroup,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={
        "help_option_names": ["-h", "--help"],
        "token_normalize_func": str.lower,  # --Model is --model
    },
)


PIPE_CLOSED = 141  # exit code of a program that SIGPIPE ended: 128 + 13


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
@expand_options
def train(
    context: typer.Context,
    data: option.Data,
    settings: option.Settings = None,
    model: option.Model = None,
    out: option.Out = None,
    prior: option.Prior = None,
    *,
    training: option.TrainOptions,
    control: option.ControlFields = None,
    target: option.Target = None,
    valid: option.Valid = None,
    valid_target: option.ValidTarget = None,
    recipe: option.Recipe = None,
    base: option.Base = None,
    reference: option.Reference = None,
    json: option.Json = False,
) -> None:
    """Train a generator on your text. The same command resumes an interrupted training."""
    options = [f"{key}={value}" for key, value in training.items()]
    if prior is not None:
        options.append(f"ngram_prior.enabled={preflight.prior_value(prior)}")
    if control is not None:
        options.append(f"task.control={dumps(control.split(','))}")
    options += settings or []
    preflight.check_training(
        data,
        (target, valid, valid_target, reference),
        model=model,
        base=base,
        recipe=recipe,
        out=out,
        settings=options,
    )
    from wenmo.api import fit
    from wenmo.apps.cli import show

    with show.ProgressDisplay() as progress:
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
            settings=options,
            on_event=progress.on_event,
            on_progress=progress.on_progress,
            started=context.obj,
        )
    if json:
        show.print_json({"run": str(run.folder), **run.card.results})
    else:
        show.print_training_result(run)


app.command()(expand_options(generate))


@app.command()
@expand_options
def chat(
    folder: option.RunFolder,
    control: option.Control = None,
    *,
    sampling: option.ReplySampling,
    system: option.System = None,
    encoding: option.StdinEncoding = None,
) -> None:
    """Talk with a run that was trained on dialogue; an empty line ends it."""
    preflight.check_run(folder)
    from wenmo.api import draw_seed, load
    from wenmo.apps.cli import show

    if encoding is not None:
        streams.set_stdin_encoding(encoding)
    run = load(folder)
    show.print_card_note(run)
    run.generator.require_task("dialogue")
    fields = parse_control(control)
    for line in run.generator.resolve_control(fields)[1]:
        show.print_note(line)
    prints_seed = "seed" not in sampling and run.generator.is_random(**sampling)
    first_seed = sampling.get("seed", draw_seed())
    turns: list[str] = []
    while turn := show.read_turn():
        turns.append(turn)
        sampling["seed"] = first_seed + len(turns)
        pieces = run.reply(turns, control=fields, system=system, **sampling)
        turns.append(show.stream_reply(pieces))
        if prints_seed and len(turns) == 2:
            show.print_seed(first_seed)


@app.command()
@expand_options
def evaluate(
    folder: option.RunFolder,
    data: option.Data,
    settings: option.ReadSettings = None,
    target: option.Target = None,
    window: option.Window = None,
    stride: option.Stride = None,
    dynamic: option.Dynamic = None,
    cache: option.Cache = None,
    samples: option.Samples = None,
    *,
    read: option.ReadOptions,
    encoding: option.Encoding = None,
    sampling: option.AnswerSampling,
    seed: option.AnswerSeed = 0,
    json: option.Json = False,
) -> None:
    """Score a text: bits per byte, nats per token, perplexity; and for pairs, the answers."""
    reading = [*(f"{key}={value}" for key, value in read.items()), *(settings or [])]
    preflight.check_run(folder)
    preflight.check_paths(data, target)
    preflight.check_reading(reading)
    from wenmo.api import load
    from wenmo.apps.cli import show

    with show.ProgressDisplay() as progress:
        run = load(folder)
        show.print_card_note(run)
        evaluation = run.evaluate(
            data,
            target=target,
            encoding=encoding,
            window=window,
            stride=stride,
            dynamic=dynamic,
            cache=cache,
            samples=samples,
            settings=reading,
            on_progress=progress.on_progress,
            seed=seed,
            **sampling,
        )
    if json:
        show.print_json(evaluation)
    else:
        show.print_evaluation(evaluation)


@app.command()
def explain(folder: option.RunFolder, text: option.Text, json: option.Json = False) -> None:
    """Token by token: probability, rank, the likeliest token, and components of a mixture."""
    preflight.check_run(folder)
    from wenmo.api import load
    from wenmo.apps.cli import show

    run = load(folder)
    show.print_card_note(run)
    rows = run.explain(text)
    if json:
        show.print_json({"tokens": rows})
    else:
        show.print_explanation(rows)


app.command()(expand_options(latent))
app.command()(expand_options(tradeoff))
app.command("runs")(run_folders.runs)
app.command("show")(run_folders.show_run)
app.command()(compare)
app.command()(expand_options(inspect))
app.command("rm")(run_folders.rm)


@app.command()
def export(
    folder: option.RunFolder,
    to: option.ExportFormat,
    out: option.ExportOut,
    precision: option.ExportPrecision = None,
    network_only: option.NetworkOnly = False,
) -> None:
    """Write a model for other programs: huggingface, gguf, onnx, arpa or grammar."""
    preflight.check_run(folder)
    to = preflight.check_format(to)
    from wenmo.api import load
    from wenmo.apps.cli import show

    export_note = load(folder).export(to, out, precision=precision, network_only=network_only)
    if export_note is not None:
        show.print_note(export_note)
    show.print_note(f"written: {out}")


@app.command()
def plan(
    model: option.PlanModel,
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
    """What training a model of any size takes: memory, days, dollars and number of GPUs."""
    from wenmo import api
    from wenmo.apps.cli import show

    training_plan = api.plan(
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
        show.print_json(training_plan)
    else:
        show.print_plan(training_plan)


@app.command()
def models(
    family: Annotated[
        str | None, typer.Argument(help="The family whose settings are shown.")
    ] = None,
    json: option.Json = False,
) -> None:
    """List the model families with their uses, sizes and settings."""
    if family is not None:
        family = preflight.check_family(family)
    from wenmo.api import catalogue
    from wenmo.apps.cli import show

    families = catalogue(family)
    if json:
        show.print_json({"models": families})
    elif family is None:
        show.print_families(families)
    else:
        show.print_family(families[0])


@app.command()
def demo(
    out: Annotated[Path, typer.Option(help="Parent folder of the run folders.")] = Path(
        "runs/demo"
    ),
    seconds: Annotated[
        float,
        typer.Option(
            envvar="WENMO_DEMO_SECONDS", min=1, help="Training time of each neural model."
        ),
    ] = 60.0,
    json: option.Json = False,
) -> None:
    """Train an n-gram, an LSTM and a GPT on Shakespeare's plays, and compare them."""
    from wenmo.apps.cli.demo import run_demo

    run_demo(out, seconds, json)


def main() -> None:
    """Run the command line. A failure prints one line and sets the exit code."""
    streams.prepare_streams()
    code = run(IMPORTED_AT)
    if code == PIPE_CLOSED:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(code)


def run(started: float | None = None) -> int:
    """Run the command in ``sys.argv``; return its exit code.

    Args:
        started: the start time of the process, a value of `time.perf_counter` (default: now).
    """
    try:
        with streams.print_warnings():
            code = app(standalone_mode=False, obj=started or time.perf_counter())
        sys.stdout.flush()
    except WenmoError as error:
        return _fail(str(error), 2)
    except typer.TyperException as error:  # a wrong option or argument
        return _fail(" ".join(error.format_message().split()), 2)
    except SystemExit as end:
        return 0 if end.code in (None, 0) else PIPE_CLOSED
    except BrokenPipeError:  # the reader of the output has ended, as `head` does
        return PIPE_CLOSED
    except KeyboardInterrupt:
        return _fail("interrupted", 130)
    except OSError as error:  # a full disk, a folder without access, and so on
        return _fail(f"{error.filename or 'output'}: {error.strerror}", 2)
    except Exception as error:
        if type(error).__name__ == "Interrupted":  # an import of its class loads PyTorch
            return _fail(str(error), 130)
        traceback.print_exc()
        return _fail("this is a bug of wenmo: please report it", 1)
    return code if isinstance(code, int) else 0


def _fail(message: str, code: int) -> int:
    print(f"wenmo: {message}", file=sys.stderr)
    return code

"""The command line: ``wenmo train``, ``generate``, ``evaluate``, ``models``, ``demo``.

A shell without ideas of its own: each command parses, calls the facade, and prints. With ``--json``
one JSON object goes to standard output; all else goes to standard error. Exit codes: 0 done, 2 the
user's input, 1 our fault, 130 interrupted. PyTorch is loaded only inside the commands.
"""

from __future__ import annotations

import io
import os
import sys
import traceback
from pathlib import Path
from typing import Annotated, Any

import typer

from wenmo import __version__
from wenmo.types import WenmoError

app = typer.Typer(
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
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


Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on standard output.")]
RunFolder = Annotated[Path, typer.Argument(metavar="RUN", help="A run folder made by train.")]
TextField = Annotated[
    str | None,
    typer.Option(
        help="The column (by name, or number where there is no header) or key of the text."
    ),
]
Unit = Annotated[
    str | None,
    typer.Option(help="What one record of a plain text is: document, paragraph or line."),
]


@app.command()
def train(
    data: Annotated[
        str, typer.Argument(metavar="DATA", help="A file or folder of text; - is stdin.")
    ],
    settings: Annotated[
        list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="Any setting: hidden=512.")
    ] = None,
    model: Annotated[
        str | None, typer.Option(help="A family, or family:size; see wenmo models [default: lstm].")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="The run folder [default: runs/NAME-MODEL].")
    ] = None,
    tokenizer: Annotated[
        str | None, typer.Option(help="chars, bytes, words, bpe or unigram [default: chars].")
    ] = None,
    minutes: Annotated[float | None, typer.Option(help="How long to train [default: 3].")] = None,
    steps: Annotated[int | None, typer.Option(help="How many steps to train instead.")] = None,
    valid: Annotated[
        str | None, typer.Option(help="Held-out text [default: a part of DATA].")
    ] = None,
    text_field: TextField = None,
    source_field: Annotated[
        str | None, typer.Option(help="The column or key of the source, for pairs.")
    ] = None,
    unit: Unit = None,
    recipe: Annotated[
        Path | None, typer.Option(help="A TOML file with settings; the command's go before it.")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Of all that is random [default: 0].")] = None,
    json: Json = False,
) -> None:
    """Train a generator on your text. The same command goes on where it was interrupted."""
    from wenmo.apps.cli import show
    from wenmo.workbench import fit

    options = {
        "tokenizer.kind": tokenizer,
        "train.minutes": minutes,
        "train.steps": steps,
        "train.seed": seed,
        "split.seed": seed,
        "read.text_field": text_field,
        "read.source_field": source_field,
        "read.unit": unit,
    }
    given = [f"{key}={value}" for key, value in options.items() if value is not None]
    with show.Training() as watcher:
        run = fit(
            data,
            model=model,
            out=out,
            valid=valid,
            recipe=recipe,
            settings=[*given, *(settings or [])],
            watch=watcher.watch,
            tell=watcher.tell,
        )
    if json:
        show.print_json({"run": str(run.folder), **run.card.results})
    else:
        show.trained(run)


@app.command()
def generate(
    run: RunFolder,
    prompt: Annotated[
        list[str] | None,
        typer.Option("--prompt", "-p", help="What to go on from; may be repeated."),
    ] = None,
    input: Annotated[  # noqa: A002 - the option's name
        Path | None, typer.Option(help="A file with one prompt a line.")
    ] = None,
    n: Annotated[int, typer.Option("-n", min=1, help="How many texts for each prompt.")] = 1,
    method: Annotated[str, typer.Option(help="sample or greedy.")] = "sample",
    max_tokens: Annotated[int, typer.Option(help="The most tokens to write.")] = 256,
    min_tokens: Annotated[int, typer.Option(help="The fewest tokens to write.")] = 0,
    temperature: Annotated[float, typer.Option(help="Below 1 is safer, above 1 bolder.")] = 0.8,
    top_k: Annotated[int, typer.Option(help="Keep the k likeliest tokens; 0: all.")] = 0,
    top_p: Annotated[float, typer.Option(help="Keep the likeliest tokens of this mass.")] = 1.0,
    min_p: Annotated[
        float, typer.Option(help="Keep tokens this likely beside the likeliest.")
    ] = 0.0,
    typical_p: Annotated[
        float, typer.Option(help="Keep the most typical tokens of this mass.")
    ] = 1.0,
    repetition_penalty: Annotated[
        float, typer.Option(help="Above 1 discourages repetition.")
    ] = 1.0,
    presence_penalty: Annotated[
        float, typer.Option(help="Taken off tokens already written.")
    ] = 0.0,
    frequency_penalty: Annotated[
        float, typer.Option(help="Taken off for each time written.")
    ] = 0.0,
    no_repeat_ngram: Annotated[int, typer.Option(help="Repeat no n-gram of this length.")] = 0,
    logit_bias: Annotated[
        list[str] | None, typer.Option(metavar="TEXT=AMOUNT", help="Favour or avoid a token.")
    ] = None,
    stop: Annotated[
        list[str] | None, typer.Option(help="End before this text; repeatable.")
    ] = None,
    seed: Annotated[int, typer.Option(help="The same seed writes the same text.")] = 0,
    json: Json = False,
) -> None:
    """Write text with a trained run."""
    from wenmo.apps.cli import show
    from wenmo.workbench import load, read_prompts

    opened = load(run)
    sampling: dict[str, Any] = {
        "method": method,
        "max_tokens": max_tokens,
        "min_tokens": min_tokens,
        "temperature": temperature,
        "top_k": top_k,
        "top_p": top_p,
        "min_p": min_p,
        "typical_p": typical_p,
        "repetition_penalty": repetition_penalty,
        "presence_penalty": presence_penalty,
        "frequency_penalty": frequency_penalty,
        "no_repeat_ngram": no_repeat_ngram,
        "logit_bias": opened.logit_bias(logit_bias or []),
        "stop": tuple(stop or ()),
        "seed": seed,
    }
    prompts = [*(prompt or []), *(read_prompts(input) if input is not None else [])] or [""]
    if any(map(opened.truncates, prompts)):
        show.note("a prompt is longer than the model's context: only its end is read")
    if json:
        outputs = opened.write(prompts, n, **sampling)
        show.print_json({"outputs": [show.output(o) for group in outputs for o in group]})
    elif len(prompts) == n == 1:
        show.stream(prompts[0], opened.stream(prompts[0], **sampling))
    else:
        show.texts(prompts, opened.write(prompts, n, **sampling))


@app.command()
def evaluate(
    run: RunFolder,
    data: Annotated[
        str, typer.Argument(metavar="DATA", help="A file or folder of text; - is stdin.")
    ],
    settings: Annotated[
        list[str] | None,
        typer.Argument(metavar="[KEY=VALUE]...", help="How to read it: encoding=gb18030."),
    ] = None,
    stride: Annotated[
        int | None,
        typer.Option(min=1, help="How far a bounded context moves [default: by all of itself]."),
    ] = None,
    text_field: TextField = None,
    unit: Unit = None,
    json: Json = False,
) -> None:
    """Score a text: bits per byte, nats per token, perplexity."""
    from wenmo.apps.cli import show
    from wenmo.workbench import load

    options = {"text_field": text_field, "unit": unit}
    given = [f"{key}={value}" for key, value in options.items() if value is not None]
    reading = [*given, *(settings or [])]
    with show.Training() as watcher:
        figures = load(run).evaluate(data, stride=stride, settings=reading, tell=watcher.tell)
    if json:
        show.print_json(figures)
    else:
        show.likelihood(figures)


@app.command()
def models(
    family: Annotated[str | None, typer.Argument(help="Show all settings of this family.")] = None,
    json: Json = False,
) -> None:
    """Every family of generators, what it is good for, its sizes and settings."""
    from wenmo.apps.cli import show
    from wenmo.workbench import catalogue

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
    json: Json = False,
) -> None:
    """Train an n-gram, an LSTM and a GPT on Shakespeare's plays, and compare them."""
    from wenmo.apps.cli.demo import run_demo

    run_demo(out, seconds, json)


def main() -> None:
    """Run the command line; every failure becomes one line and its exit code.

    Arguments and output are UTF-8, whatever the terminal's locale says.
    """
    sys.argv = [os.fsencode(argument).decode("utf-8", "replace") for argument in sys.argv]
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(encoding="utf-8", errors="replace")
    code = run()
    if code == PIPE_CLOSED:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(code)


def run() -> int:
    """Run the command in ``sys.argv``; return its exit code."""
    try:
        code = app(standalone_mode=False)
        sys.stdout.flush()
    except WenmoError as error:
        return _fail(str(error), 2)
    except typer.TyperException as error:  # a wrong option or argument
        return _fail(" ".join(error.format_message().split()), 2)
    except (SystemExit, BrokenPipeError):  # the reader of our output went away, as `head` does
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

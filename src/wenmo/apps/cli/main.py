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
from typing import Annotated

import typer

from wenmo import IMPORTED_AT, __version__
from wenmo.apps.cli import streams
from wenmo.apps.cli.commands import CommandGroup
from wenmo.types import WenmoError

PIPE_CLOSED = 141  # exit code of a program that SIGPIPE ended: 128 + 13

app = typer.Typer(
    cls=CommandGroup,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={
        "help_option_names": ["-h", "--help"],
        "token_normalize_func": str.lower,  # --Model is --model
    },
)


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

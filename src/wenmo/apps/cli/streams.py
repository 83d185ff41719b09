"""Encodings and states of the standard streams and arguments; warnings as lines."""

from __future__ import annotations

import io
import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from wenmo.types import WenmoError, WenmoWarning


def set_stdin_encoding(encoding: str) -> None:
    """Decode standard input with this encoding.

    Raises:
        WenmoError: the encoding is unknown.
    """
    try:
        if isinstance(sys.stdin, io.TextIOWrapper):
            sys.stdin.reconfigure(encoding=encoding)
    except LookupError:
        raise WenmoError(f"--encoding {encoding}: no such text encoding") from None


@contextmanager
def print_warnings() -> Iterator[None]:
    """Print each `WenmoWarning` once, as one line."""
    with warnings.catch_warnings():
        warnings.simplefilter("once", WenmoWarning)
        show_other = warnings.showwarning

        def show_warning(
            message: Warning | str, category: type[Warning], filename: str, lineno: int, *more: Any
        ) -> None:
            if issubclass(category, WenmoWarning):
                print(f"wenmo: {message}", file=sys.stderr)
            else:
                show_other(message, category, filename, lineno, *more)

        warnings.showwarning = show_warning  # type: ignore[assignment]
        yield


def prepare_streams() -> None:
    """Make arguments and streams safe to use.

    - A closed standard stream is opened on the null device. Otherwise the next opened file gets
      its descriptor, and output goes into that file. ``sys.stdin`` stays ``None``, so that a
      command can report that it is closed.
    - Arguments and output are UTF-8 in every locale. Invalid bytes of an argument stay in it as
      surrogates, so that every file name can be opened.
    - A character that cannot be printed is replaced.
    """
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass
    os.close(descriptor)
    if sys.stdout is None:
        sys.stdout = open(1, "w", encoding="utf-8")  # noqa: SIM115 - open until the end
    if sys.stderr is None:
        sys.stderr = open(2, "w", encoding="utf-8")  # noqa: SIM115
    if os.name == "posix":
        arguments = map(os.fsencode, sys.argv)
        sys.argv = [argument.decode("utf-8", "surrogateescape") for argument in arguments]
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(encoding="utf-8", errors="replace")
    if isinstance(sys.stdin, io.TextIOWrapper):
        sys.stdin.reconfigure(errors="strict")

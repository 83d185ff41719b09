"""Arguments and standard streams as the shell, cron or a service hands them over."""

from __future__ import annotations

import io
import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from wenmo.types import WenmoError, WenmoWarning


def read_as(encoding: str) -> None:
    """Decode the standard input by this encoding.

    Raises:
        WenmoError: there is no such encoding.
    """
    try:
        if isinstance(sys.stdin, io.TextIOWrapper):
            sys.stdin.reconfigure(encoding=encoding)
    except LookupError:
        raise WenmoError(f"--encoding {encoding}: no such text encoding") from None


@contextmanager
def warnings_as_lines() -> Iterator[None]:
    """Print each warning of ours once, as one line."""
    with warnings.catch_warnings():
        warnings.simplefilter("once", WenmoWarning)
        plain = warnings.showwarning

        def show(
            message: Warning | str, category: type[Warning], filename: str, lineno: int, *more: Any
        ) -> None:
            if issubclass(category, WenmoWarning):
                print(f"wenmo: {message}", file=sys.stderr)
            else:
                plain(message, category, filename, lineno, *more)

        warnings.showwarning = show  # type: ignore[assignment]
        yield


def prepare() -> None:
    """Make arguments and streams safe to use.

    - A closed standard stream is opened on the null device: otherwise the next file that is opened
      takes its number, and what is printed goes into that file. ``sys.stdin`` stays ``None``, so
      that reading from it can be refused.
    - Arguments and output are UTF-8, whatever the locale says. Bytes of an argument that are not
      stay in it as surrogates, so that every file name can be opened.
    - A character that cannot be printed is replaced.
    """
    while (number := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass
    os.close(number)
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

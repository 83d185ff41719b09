"""Data sources named by users: files, folders, pipes, standard input."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import IO, TypeAlias

from wenmo.config import did_you_mean
from wenmo.text.encodings import PIECE
from wenmo.text.natural_order import natural_key
from wenmo.types import WenmoError

STANDARD_INPUT = "standard input"
"""The name of a `Copy` of standard input."""


class Copy:
    """A temporary copy of a source that can be read only once: a pipe, or standard input.

    The copy is deleted with the object. ``str`` gives the name of the original, for messages; as a
    path it is the copy.
    """

    def __init__(self, stream: IO[bytes], name: str) -> None:
        """Read the stream to its end.

        Raises:
            WenmoError: the temporary folder is full, or cannot be written to.
        """
        self.name = name
        suffixes = "".join(Path(name).suffixes)  # they determine the format
        try:
            handle, self._path = tempfile.mkstemp(prefix="wenmo-", suffix=suffixes)
            remove = weakref.finalize(self, _remove, self._path)
            try:
                with open(handle, "wb") as file:
                    shutil.copyfileobj(stream, file, PIECE)
            except BaseException:
                remove()
                raise
        except OSError as error:
            raise WenmoError(
                f"{name}: cannot be copied to the temporary folder {tempfile.gettempdir()}: "
                f"{error.strerror}; free some space there, or set TMPDIR to another folder"
            ) from None

    def __fspath__(self) -> str:
        return self._path

    def __str__(self) -> str:
        return self.name


Source: TypeAlias = str | Path | Copy
"""A data source; ``-`` is standard input."""


def _remove(path: str) -> None:
    Path(path).unlink(missing_ok=True)


def check_path(path: Source) -> None:
    """Check that a path exists.

    Raises:
        WenmoError: it does not; suggests a similar name.
    """
    if str(path) != "-" and not os.path.exists(path):
        siblings = [other.name for other in Path(path).parent.glob("*")]
        raise WenmoError(f"{path}: no such file or folder{did_you_mean(Path(path).name, siblings)}")


def rereadable(path: Source) -> Source:
    """The path, or a copy if it can be read only once.

    Raises:
        WenmoError: the path does not exist, or cannot be copied.
    """
    if str(path) == "-":
        if sys.stdin is None:
            raise WenmoError("standard input is closed; give a file, or redirect one into it")
        return Copy(sys.stdin.buffer, STANDARD_INPUT)
    check_path(path)
    if isinstance(path, Copy) or os.path.isfile(path) or os.path.isdir(path):
        return path
    try:
        stream = open(path, "rb")  # noqa: SIM115 - closed below; Copy has errors of its own
    except OSError as error:
        raise WenmoError(f"{path}: cannot be read: {error.strerror}") from None
    with stream:
        return Copy(stream, str(path))


def files_below(folder: Path) -> list[Path]:
    """All visible files below a folder, in natural order.

    Links are followed. A folder or file that is reachable by several paths is listed once, so that
    cyclic links end.

    Raises:
        WenmoError: a folder cannot be read.
    """
    return sorted(_walk(folder, set()), key=natural_key)


def _walk(folder: Path, seen: set[str]) -> Iterator[Path]:
    seen.add(os.path.realpath(folder))
    try:
        entries = sorted(folder.iterdir(), key=lambda path: (path.is_symlink(), path))
    except OSError as error:
        raise WenmoError(f"{folder}: cannot be read: {error.strerror}") from None
    for path in entries:  # links come last, so that a file is listed by its own path if possible
        real = os.path.realpath(path)
        if path.name.startswith(".") or real in seen:
            continue
        if path.is_dir():
            yield from _walk(path, seen)
        else:
            seen.add(real)
            yield path

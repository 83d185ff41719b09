"""Atomic file writing: files are written under a temporary name, then renamed."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from wenmo.types import WenmoError


@contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """Yield a temporary path in the same folder; it is renamed to ``path`` on success.

    Raises:
        WenmoError: the disk is full, or the folder cannot be written to. Nothing is left behind.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with user_facing_os_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            yield temporary
            with temporary.open("rb+") as file:
                os.fsync(file.fileno())
            temporary.chmod(0o666 & ~_umask())  # some libraries set restrictive permissions
            temporary.replace(path)
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


@contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """Yield a new temporary folder; it is renamed to ``path`` on success.

    Args:
        path: a path that does not exist, or an empty folder.

    Raises:
        WenmoError: the disk is full, or the folder cannot be written to. Nothing is left behind.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with user_facing_os_errors(path):
            temporary.mkdir(parents=True)
            yield temporary
            if path.exists():
                path.rmdir()
            temporary.rename(path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


@contextmanager
def user_facing_os_errors(path: Path) -> Iterator[None]:
    """Convert errors of the operating system about writing to `WenmoError`."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise WenmoError(f"{path}: the disk is full: make room and run it again") from None
        if isinstance(error, PermissionError) or error.errno == errno.EROFS:
            raise WenmoError(f"{path}: no permission to write here") from None
        if isinstance(error, NotADirectoryError | FileExistsError | IsADirectoryError):
            raise WenmoError(
                f"{path}: a file exists where a folder is needed, or a folder where a file is"
            ) from None
        raise


def _umask() -> int:
    """The process's umask, which can only be read by setting it."""
    umask = os.umask(0o077)
    os.umask(umask)
    return umask


def write_text(path: Path, text: str) -> None:
    """Write a text file in UTF-8, atomically."""
    with atomic(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any) -> None:
    """Write indented JSON, atomically."""
    with atomic(path) as temporary:
        text = json.dumps(value, ensure_ascii=False, indent=2)
        if re.search("[\ud800-\udfff]", text):  # from a file name that is not UTF-8
            text = json.dumps(value, indent=2)
        temporary.write_text(text + "\n", encoding="utf-8")


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object.

    Raises:
        WenmoError: no such file, not JSON, or not an object.
    """
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise WenmoError(f"{path}: no such file") from None
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise WenmoError(f"{path}: damaged, not valid JSON: {error}") from None
    if not isinstance(value, dict):
        raise WenmoError(f"{path}: damaged, not a JSON object")
    return value


def checksum(path: Path) -> str:
    """SHA-256 of a file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()

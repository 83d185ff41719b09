"""A lock on a run folder, so that only one process trains in it.

It is an operating system lock on the file ``.lock`` in the folder, which is released when the
process ends in any way. ``.lock.pid`` names the process, only for error messages.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from wenmo.files import user_facing_os_errors
from wenmo.types import WenmoError

LOCK, PID_FILE = ".lock", ".lock.pid"
LOCK_FILES = frozenset({LOCK, PID_FILE})


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the lock of a folder, which is created if it does not exist.

    If the folder is empty at the end, it and the parent folders created for it are removed.

    Raises:
        WenmoError: another process holds the lock, or the folder cannot be written to.
    """
    created = [parent for parent in (folder, *folder.parents) if not parent.exists()]
    with user_facing_os_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / LOCK, timeout=0)
        try:
            lock.acquire()
        except Timeout:
            raise WenmoError(_in_use_message(folder)) from None
    try:
        with user_facing_os_errors(folder):
            owner = f"{os.getpid()} {socket.gethostname()}"
            (folder / PID_FILE).write_text(owner, encoding="utf-8")
        yield
    finally:
        with suppress(OSError):
            (folder / PID_FILE).unlink(missing_ok=True)
        was_empty = is_empty(folder)
        lock.release()
        if was_empty:
            with suppress(OSError):
                (folder / LOCK).unlink(missing_ok=True)
                for parent in created:
                    parent.rmdir()


def is_empty(folder: Path) -> bool:
    """Whether a folder contains nothing but its lock."""
    return all(path.name in LOCK_FILES for path in folder.iterdir())


def check_unlocked(folder: Path) -> None:
    """Check that no process holds the lock of a folder.

    Raises:
        WenmoError: another process holds the lock.
    """
    if not (folder / LOCK).exists():
        return
    lock = FileLock(folder / LOCK, timeout=0)
    try:
        with lock:
            return
    except Timeout:
        raise WenmoError(_in_use_message(folder)) from None
    except OSError:  # a folder without write permission raises an error when it is written to
        return


def _in_use_message(folder: Path) -> str:
    try:
        pid, host = (folder / PID_FILE).read_text(encoding="utf-8").split()
        owner = f"process {pid} on {host}"
    except (OSError, ValueError):
        owner = "another process"
    return f"{folder}: {owner} is training here: wait until it ends, or choose another --out"

"""A lock on a run folder: one process trains in it at a time.

The lock is the operating system's, on the file ``.lock`` in the folder: it ends with the process
that holds it, however that ends. ``.lock.pid`` beside it names the process, for the message alone.
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

LOCK, HOLDER = ".lock", ".lock.pid"
LOCK_FILES = frozenset({LOCK, HOLDER})


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the lock of a folder, which is made where it is missing.

    A folder that holds nothing but the lock afterwards is removed again, with the folders above it
    that were made for it.

    Raises:
        WenmoError: another process holds it, or the folder cannot be written to.
    """
    made = [each for each in (folder, *folder.parents) if not each.exists()]
    with user_facing_os_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / LOCK, timeout=0)
        try:
            lock.acquire()
        except Timeout:
            raise WenmoError(_refusal(folder)) from None
    try:
        with user_facing_os_errors(folder):
            holder = f"{os.getpid()} {socket.gethostname()}"
            (folder / HOLDER).write_text(holder, encoding="utf-8")
        yield
    finally:
        with suppress(OSError):
            (folder / HOLDER).unlink(missing_ok=True)
        empty = is_free(folder)
        lock.release()
        if empty:
            with suppress(OSError):
                (folder / LOCK).unlink(missing_ok=True)
                for each in made:
                    each.rmdir()


def is_free(folder: Path) -> bool:
    """Whether a folder holds nothing but its lock."""
    return all(path.name in LOCK_FILES for path in folder.iterdir())


def check_unlocked(folder: Path) -> None:
    """Refuse at once a folder in which another process is at work.

    Raises:
        WenmoError: another process holds its lock.
    """
    if not (folder / LOCK).exists():
        return
    lock = FileLock(folder / LOCK, timeout=0)
    try:
        with lock:
            return
    except Timeout:
        raise WenmoError(_refusal(folder)) from None
    except OSError:  # a folder that cannot be written to is told when something is written
        return


def _refusal(folder: Path) -> str:
    try:
        pid, host = (folder / HOLDER).read_text(encoding="utf-8").split()
        who = f"process {pid} on {host}"
    except (OSError, ValueError):
        who = "another process"
    return f"{folder}: {who} is training here: wait until it ends, or choose another --out"

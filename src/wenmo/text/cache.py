"""A folder of things that were made once and need not be made again."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from wenmo.files import checksum
from wenmo.types import WenmoError


def cached(
    cache: Path | None,
    key: str,
    names: tuple[str, ...],
    make: Callable[[Path, Path], dict[str, Any]],
) -> tuple[Path, dict[str, Any]]:
    """Find a cache entry, or make it where it is missing or damaged.

    Args:
        cache: the folder of the cache; by default ``$WENMO_CACHE``, ``$XDG_CACHE_HOME/wenmo`` or
            ``~/.cache/wenmo``.
        key: names the entry.
        names: the files it consists of.
        make: writes them, given a folder for what is not to be kept and the entry's own; returns
            what ``meta.json`` is to hold.

    Returns:
        The folder of the entry, and its ``meta.json``.

    Raises:
        WenmoError: the disk is full, or the folder cannot be written.
    """
    root = (cache or _cache_folder()) / "texts"
    entry = root / key
    if (meta := _sound(entry, names)) is not None:
        return entry, meta
    try:
        root.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".making-", dir=root) as temporary:
            made = Path(temporary, "entry")
            made.mkdir()
            meta = make(Path(temporary), made)
            meta["files"] = {name: _facts(made / name) for name in names}
            (made / "meta.json").write_text(json.dumps(meta, ensure_ascii=False), "utf-8")
            if _sound(entry, names) is None:  # no other process was quicker
                if entry.exists():
                    entry.rename(Path(temporary, "damaged"))
                made.rename(entry)
    except OSError as error:
        reason = "the disk is full" if error.errno == errno.ENOSPC else error.strerror
        raise WenmoError(
            f"{root}: {reason}: free some space, or set WENMO_CACHE to another folder"
        ) from None
    return entry, meta


def _sound(entry: Path, names: tuple[str, ...]) -> dict[str, Any] | None:
    """The entry's ``meta.json``, if all of its files are as they were written."""
    try:
        meta: dict[str, Any] = json.loads((entry / "meta.json").read_text("utf-8"))
        whole = all(_facts(entry / name) == meta["files"][name] for name in names)
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return meta if whole else None


def _facts(path: Path) -> dict[str, Any]:
    return {"size": path.stat().st_size, "checksum": checksum(path)}


def _cache_folder() -> Path:
    if folder := os.environ.get("WENMO_CACHE"):
        return Path(folder)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "wenmo"


def digest(*parts: str) -> str:
    """32 hexadecimal digits of some text."""
    return hashlib.blake2b("\n".join(parts).encode(), digest_size=16).hexdigest()

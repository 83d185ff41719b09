"""A cache folder of computed files."""

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
    """The cache entry of a key; computed if it is missing or damaged.

    Args:
        cache: cache folder (default ``$WENMO_CACHE``, ``$XDG_CACHE_HOME/wenmo`` or
            ``~/.cache/wenmo``).
        key: name of the entry.
        names: names of its files.
        make: writes the files, given a temporary folder and the entry's folder; returns the content
            of ``meta.json``.

    Returns:
        The folder of the entry, and its ``meta.json``.

    Raises:
        WenmoError: the disk is full, or the folder cannot be written.
    """
    root = (cache or _cache_folder()) / "texts"
    entry = root / key
    if (meta := _read_valid(entry, names)) is not None:
        return entry, meta
    try:
        root.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".making-", dir=root) as temporary:
            made = Path(temporary, "entry")
            made.mkdir()
            meta = make(Path(temporary), made)
            meta["files"] = {name: _size_and_checksum(made / name) for name in names}
            (made / "meta.json").write_text(json.dumps(meta, ensure_ascii=False), "utf-8")
            if _read_valid(entry, names) is None:  # unless another process was faster
                if entry.exists():
                    entry.rename(Path(temporary, "damaged"))
                made.rename(entry)
    except OSError as error:
        reason = "the disk is full" if error.errno == errno.ENOSPC else error.strerror
        raise WenmoError(
            f"{root}: {reason}: free some space, or set WENMO_CACHE to another folder"
        ) from None
    return entry, meta


def _read_valid(entry: Path, names: tuple[str, ...]) -> dict[str, Any] | None:
    """The entry's ``meta.json``, if all of its files are unchanged."""
    try:
        meta: dict[str, Any] = json.loads((entry / "meta.json").read_text("utf-8"))
        is_valid = all(_size_and_checksum(entry / name) == meta["files"][name] for name in names)
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return meta if is_valid else None


def _size_and_checksum(path: Path) -> dict[str, Any]:
    return {"size": path.stat().st_size, "checksum": checksum(path)}


def _cache_folder() -> Path:
    if folder := os.environ.get("WENMO_CACHE"):
        return Path(folder)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "wenmo"


def digest(*parts: str) -> str:
    """A hash of texts, 32 hexadecimal digits."""
    return hashlib.blake2b("\n".join(parts).encode(), digest_size=16).hexdigest()

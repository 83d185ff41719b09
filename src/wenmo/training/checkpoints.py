"""Checkpoints: all that training needs to continue exactly. The last two are kept.

A checkpoint is an index, ``STEP.json``, and the files that it names with their checksums: shards of
safetensors, ``STEP.safetensors``, ``STEP-1.safetensors`` and so on. The index is written last, so
that a checkpoint is complete once it has one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from wenmo.files import checksum, read_json, write_json
from wenmo.tensors import load_tensors, save_tensors
from wenmo.types import WenmoError

KEPT = 2
SHARD_BYTES = 1 << 30  # tensors in a shard, if it holds more than one: no more are copied at once

NamedTensors = Iterable[tuple[str, Tensor]]


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Named tensors (weights, optimizer, carried state), and figures as JSON keeps them."""

    tensors: dict[str, Tensor]
    figures: dict[str, Any]


class Checkpoints:
    """A folder of checkpoints.

    Args:
        folder: where they are kept.
        on_note: receives a line for the user about each damaged checkpoint.
    """

    def __init__(self, folder: Path, on_note: Callable[[str], None]) -> None:
        self.folder, self.on_note = folder, on_note

    def save(self, step: int, tensors: NamedTensors, figures: dict[str, Any]) -> None:
        """Write a checkpoint, then remove all but the last two.

        Args:
            tensors: taken one by one; at most a shard of them is held in memory.
            figures: what JSON can hold.

        Raises:
            WenmoError: the disk is full, or the folder cannot be written to.
        """
        name = f"{step:09d}"
        files = {}
        for number, shard in enumerate(shards_of(tensors, SHARD_BYTES)):
            path = self.folder / f"{name}{f'-{number}' if number else ''}.safetensors"
            save_tensors(path, shard)
            files[path.name] = checksum(path)
        write_json(self.folder / f"{name}.json", {"files": files, "figures": figures})
        for old in self._steps()[:-KEPT]:
            self._remove(old)

    def load(self) -> Checkpoint | None:
        """The newest undamaged checkpoint; damaged ones are reported and removed."""
        for step in reversed(self._steps()):
            try:
                return self._read(step)
            except WenmoError as error:
                self.on_note(f"{error}; taking the checkpoint before it")
                self._remove(step)
        return None

    def _read(self, step: str) -> Checkpoint:
        index = read_json(self.folder / f"{step}.json")
        if "files" not in index:  # an earlier version wrote a single file
            index["files"] = {f"{step}.safetensors": index.get("sha256")}
        tensors: dict[str, Tensor] = {}
        for name, expected in index["files"].items():
            path = self.folder / name
            if not path.is_file():
                raise WenmoError(f"{path}: missing")
            if checksum(path) != expected:
                raise WenmoError(f"{path}: damaged (wrong checksum)")
            tensors |= load_tensors(path)
        return Checkpoint(tensors, index["figures"])

    def _steps(self) -> list[str]:
        return sorted(path.stem for path in self.folder.glob("[0-9]*.json"))

    def _remove(self, step: str) -> None:
        shards = self.folder.glob(f"{step}-*.safetensors")
        for path in (self.folder / f"{step}.json", self.folder / f"{step}.safetensors", *shards):
            with suppress(OSError):
                path.unlink(missing_ok=True)


def shards_of(tensors: NamedTensors, limit: int) -> Iterator[dict[str, Tensor]]:
    """Named tensors in order, in groups of at most ``limit`` bytes or of a single tensor; a single
    empty group where there are none.
    """
    shard: dict[str, Tensor] = {}
    size = 0
    for name, tensor in tensors:
        if shard and size + tensor.nbytes > limit:
            yield shard
            shard, size = {}, 0
        shard[name] = tensor
        size += tensor.nbytes
    yield shard

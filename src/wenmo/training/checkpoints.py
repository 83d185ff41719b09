"""Checkpoints: all that training needs to go on exactly, with checksums; the last two are kept."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from wenmo.files import checksum, read_json, write_json
from wenmo.tensors import load_tensors, save_tensors
from wenmo.types import WenmoError

KEPT = 2


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Named tensors (weights, optimizer, carried state), and figures as JSON keeps them."""

    tensors: dict[str, Tensor]
    figures: dict[str, Any]


class Checkpoints:
    """A folder of checkpoints: ``STEP.safetensors`` and, written after it, ``STEP.json``.

    The JSON file holds the checksum of the tensors, so a pair is complete when the JSON is there.
    """

    def __init__(self, folder: Path, tell: Callable[[str], None]) -> None:
        self.folder, self.tell = folder, tell

    def save(self, step: int, checkpoint: Checkpoint) -> None:
        """Write a checkpoint, then drop all but the last two."""
        name = f"{step:09d}"
        path = self.folder / f"{name}.safetensors"
        save_tensors(path, checkpoint.tensors)
        write_json(
            self.folder / f"{name}.json",
            {"sha256": checksum(path), "figures": checkpoint.figures},
        )
        for old in self._steps()[:-KEPT]:
            self._drop(old)

    def load(self) -> Checkpoint | None:
        """The newest checkpoint that is whole; one that is not is told, and dropped."""
        for step in reversed(self._steps()):
            try:
                return self._read(step)
            except WenmoError as error:
                self.tell(f"{error}; taking the checkpoint before it")
                self._drop(step)
        return None

    def _read(self, step: str) -> Checkpoint:
        note = read_json(self.folder / f"{step}.json")
        path = self.folder / f"{step}.safetensors"
        if not path.is_file():
            raise WenmoError(f"{path}: missing")
        if checksum(path) != note.get("sha256"):
            raise WenmoError(f"{path}: damaged (wrong checksum)")
        return Checkpoint(load_tensors(path), note["figures"])

    def _steps(self) -> list[str]:
        return sorted(path.stem for path in self.folder.glob("[0-9]*.json"))

    def _drop(self, step: str) -> None:
        for suffix in ("json", "safetensors"):
            with suppress(OSError):
                (self.folder / f"{step}.{suffix}").unlink(missing_ok=True)

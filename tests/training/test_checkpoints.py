import errno

import pytest
import torch

from wenmo import files
from wenmo.tensors import load_tensors, save_tensors
from wenmo.training.checkpoints import Checkpoint, Checkpoints
from wenmo.types import WenmoError


def checkpoint(value):
    return Checkpoint({"weight": torch.full((4, 4), float(value))}, {"step": value})


@pytest.fixture
def kept(tmp_path):
    notes = []
    checkpoints = Checkpoints(tmp_path, notes.append)
    for step in (1, 2, 3):
        checkpoints.save(step, checkpoint(step))
    return checkpoints, notes, tmp_path


def test_the_last_two_are_kept_and_nothing_else(kept):
    checkpoints, _, folder = kept
    names = sorted(path.name for path in folder.iterdir())
    assert names == [f"00000000{n}.{suffix}" for n in (2, 3) for suffix in ("json", "safetensors")]
    newest = checkpoints.load()
    assert newest.figures == {"step": 3}
    assert torch.equal(newest.tensors["weight"], torch.full((4, 4), 3.0))


@pytest.mark.parametrize("damage", ["flip", "truncate", "remove", "not json"])
def test_a_damaged_one_is_told_and_the_one_before_is_taken(kept, damage):
    checkpoints, notes, folder = kept
    path = folder / "000000003.safetensors"
    content = bytearray(path.read_bytes())
    if damage == "flip":
        content[-1] ^= 1
        path.write_bytes(content)
    elif damage == "truncate":
        path.write_bytes(content[:-8])
    elif damage == "remove":
        path.unlink()
    else:
        (folder / "000000003.json").write_text("{")
    assert checkpoints.load().figures == {"step": 2}
    assert len(notes) == 1
    assert "000000003" in notes[0]
    assert "before it" in notes[0]


def test_a_killed_save_leaves_the_one_before(kept):
    checkpoints, notes, folder = kept
    (folder / "000000004.safetensors").write_bytes(b"half")  # killed before the JSON
    (folder / ".000000005.safetensors.77.tmp").write_bytes(b"half")
    assert checkpoints.load().figures == {"step": 3}
    assert notes == []


def test_none(tmp_path):
    assert Checkpoints(tmp_path / "none", print).load() is None


def test_a_full_disk_is_one_line_and_leaves_nothing(tmp_path, monkeypatch):
    def full(descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(files.os, "fsync", full)
    with pytest.raises(WenmoError, match="the disk is full"):
        save_tensors(tmp_path / "x.safetensors", {"a": torch.ones(2)})
    assert list(tmp_path.iterdir()) == []


def test_truncated_weights_are_one_line(tmp_path):
    path = tmp_path / "x.safetensors"
    save_tensors(path, {"a": torch.ones(64)})
    path.write_bytes(path.read_bytes()[:-3])
    with pytest.raises(WenmoError, match=r"x\.safetensors: damaged"):
        load_tensors(path)

import errno

import pytest
import torch

from wenmo import files
from wenmo.tensors import load_tensors, save_tensors
from wenmo.training import checkpoints as module
from wenmo.training.checkpoints import Checkpoints, shards_of
from wenmo.types import WenmoError


def save(checkpoints, step):
    checkpoints.save(step, [("weight", torch.full((4, 4), float(step)))], {"step": step})


@pytest.fixture
def kept(tmp_path):
    notes = []
    checkpoints = Checkpoints(tmp_path, notes.append)
    for step in (1, 2, 3):
        save(checkpoints, step)
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


TENSORS = {name: torch.full((4, 4), float(n)) for n, name in enumerate("abcde")}  # 64 bytes each


@pytest.fixture
def sharded(tmp_path, monkeypatch):
    """A checkpoint of five tensors, two in a shard."""
    monkeypatch.setattr(module, "SHARD_BYTES", 128)
    notes = []
    checkpoints = Checkpoints(tmp_path, notes.append)
    save(checkpoints, 1)
    checkpoints.save(2, TENSORS.items(), {"step": 2})
    return checkpoints, notes, tmp_path


def test_tensors_are_written_in_shards_and_read_from_all_of_them(sharded):
    checkpoints, notes, folder = sharded
    names = ["000000002-1.safetensors", "000000002-2.safetensors", "000000002.safetensors"]
    assert sorted(path.name for path in folder.glob("*2*.safetensors")) == names
    assert sorted(load_tensors(folder / names[0])) == ["c", "d"]
    found = checkpoints.load().tensors
    assert found.keys() == TENSORS.keys()
    assert all(torch.equal(found[name], TENSORS[name]) for name in TENSORS)
    assert notes == []


@pytest.mark.parametrize("damage", ["flip", "remove"])
def test_each_shard_is_checked(sharded, damage):
    checkpoints, notes, folder = sharded
    path = folder / "000000002-2.safetensors"
    if damage == "flip":
        path.write_bytes(path.read_bytes()[:-1] + b"?")
    else:
        path.unlink()
    assert checkpoints.load().figures == {"step": 1}
    assert [path.name in note for note in notes] == [True]
    assert not list(folder.glob("000000002*"))


def test_an_old_checkpoint_is_removed_with_all_its_shards(sharded):
    checkpoints, _, folder = sharded
    for step in (3, 4):
        save(checkpoints, step)
    assert not list(folder.glob("000000002*"))


def test_no_more_than_a_shard_of_tensors_is_held(tmp_path):
    """A learner may make each tensor when it is asked for, as one that gathers it."""
    made = []

    def tensors():
        for number in range(5):
            made.append(number)
            yield str(number), torch.zeros(8)  # 32 bytes

    held = [(list(shard), len(made)) for shard in shards_of(tensors(), limit=64)]
    assert held == [(["0", "1"], 3), (["2", "3"], 5), (["4"], 5)]
    assert list(shards_of([], limit=64)) == [{}]


def test_a_checkpoint_of_an_earlier_version_is_read(tmp_path):
    save_tensors(tmp_path / "000000007.safetensors", TENSORS)
    digest = files.checksum(tmp_path / "000000007.safetensors")
    index = {"sha256": digest, "figures": {"step": 7}}
    files.write_json(tmp_path / "000000007.json", index)
    found = Checkpoints(tmp_path, print).load()
    assert found.figures == {"step": 7}
    assert found.tensors.keys() == TENSORS.keys()


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

"""Files, folders, pipes and the standard input: each is read as a file would be."""

from __future__ import annotations

import errno
import os
import threading
from pathlib import Path
from typing import IO

import pytest

from wenmo.text.inputs import Copy, files_below, rereadable
from wenmo.text.readers import Reader
from wenmo.types import WenmoError

TEXT = "The mill stands by the river.\n"


def fifo(path: Path, content: str) -> Path:
    """A named pipe into which someone writes."""
    os.mkfifo(path)
    threading.Thread(target=path.write_text, args=(content,), daemon=True).start()
    return path


def test_pipe_is_copied_with_its_name_and_format(tmp_path: Path) -> None:
    path = fifo(tmp_path / "a.jsonl", '{"text": "mill"}\n')
    copy = rereadable(path)
    assert isinstance(copy, Copy)
    assert str(copy) == str(path)
    assert rereadable(copy) is copy
    for _ in range(2):
        reader = Reader(copy)
        assert [record.text for record in reader] == ["mill"]
    assert reader.name == str(path)
    kept = Path(copy)
    del copy, reader
    assert not kept.exists()


def test_anonymous_pipe(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    os.write(writing, TEXT.encode())
    os.close(writing)
    assert [record.text for record in Reader(f"/dev/fd/{reading}")] == [TEXT]
    os.close(reading)


def test_closed_standard_input_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", None)
    with pytest.raises(WenmoError, match="standard input is closed; give a file"):
        Reader("-")


def test_full_temporary_folder_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(stream: IO[bytes], *_: object) -> None:
        stream.read()  # so that the writer ends
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr("shutil.copyfileobj", full)
    with pytest.raises(WenmoError, match="No space left on device; free some") as caught:
        rereadable(fifo(tmp_path / "pipe", TEXT))
    assert str(tmp_path / "tmp") in str(caught.value)
    assert not list((tmp_path / "tmp").iterdir())


def test_linked_folders_are_read_once(tmp_path: Path) -> None:
    data, far = tmp_path / "data", tmp_path / "far"
    for folder in (data / "own", far):
        folder.mkdir(parents=True)
        (folder / "a.txt").write_text(TEXT)
    (data / "far").symlink_to(far)
    (far / "back").symlink_to(data)  # a cycle
    (data / "again").symlink_to(data / "own")
    (data / "copy.txt").symlink_to(data / "own" / "a.txt")
    (data / "nothing.txt").symlink_to(tmp_path / "nowhere.txt")
    assert [str(path.relative_to(data)) for path in files_below(data)] == [
        "far/a.txt",
        "nothing.txt",
        "own/a.txt",
    ]
    reader = Reader(data)
    assert [record.text for record in reader] == [TEXT, TEXT]
    assert reader.skipped_files == {"not a file": 1}


def test_file_name_in_gbk_bytes(tmp_path: Path) -> None:
    path = Path(os.fsdecode(os.fsencode(tmp_path) + "/文.txt".encode("gbk")))
    path.write_text(TEXT)
    for each in (path, tmp_path):
        assert [record.text for record in Reader(each)] == [TEXT]

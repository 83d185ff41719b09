"""Closed standard streams, and arguments that are not UTF-8."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest


def shell(command: str, cwd: Path) -> subprocess.CompletedProcess[bytes]:
    """Run a shell command in which ``$0 -m wenmo`` is the program."""
    return subprocess.run(["sh", "-c", command, sys.executable], cwd=cwd, capture_output=True)


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_streams_are_no_error(closed: str, tmp_path: Path) -> None:
    done = shell(f'"$0" -m wenmo --version {closed}', tmp_path)
    assert done.returncode == 0
    assert done.stderr == b""
    assert bool(done.stdout) == (">&-" not in closed.replace("2>&-", ""))


def test_the_exit_code_with_all_streams_closed(tmp_path: Path) -> None:
    assert shell('"$0" -m wenmo train nothing.txt <&- >&- 2>&-', tmp_path).returncode == 2


def test_a_file_name_that_is_not_utf_8_is_printed(tmp_path: Path) -> None:
    done = shell('"$0" -m wenmo train "$(printf \'\\316\\304.txt\')"', tmp_path)
    assert done.returncode == 2
    assert b"??.txt: no such file" in done.stderr


def test_text_that_is_not_utf_8_is_refused(tmp_path: Path) -> None:
    done = shell('"$0" -m wenmo generate run -p "$(printf \'\\316\\304\')"', tmp_path)
    assert done.returncode == 2
    assert b"not valid UTF-8: give it in UTF-8, or in a file (--input FILE" in done.stderr

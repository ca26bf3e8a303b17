"""Lines that are appended to a file: none is lost, and no link is followed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from gancore_training.lines import append_line

from gancore import GancoreError


def test_links_are_not_followed(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("somebody's\n")
    (tmp_path / "link").symlink_to(victim)
    with pytest.raises(GancoreError, match=r"link can't be written: Too many levels of symbolic links; free space there\.$"):
        append_line(tmp_path / "link", "line")
    assert victim.read_text() == "somebody's\n"


def test_a_file_has_the_permissions_that_any_other_would_have(tmp_path: Path) -> None:
    (tmp_path / "plain").touch()
    append_line(tmp_path / "lines", "text")
    assert len({path.stat().st_mode for path in tmp_path.iterdir()}) == 1


def test_a_line_after_half_a_line_is_a_line_of_its_own(tmp_path: Path) -> None:
    path = tmp_path / "lines"
    append_line(path, "one")
    with path.open("a") as file:
        file.write("ha")
    for line in ("two", "three"):
        append_line(path, line)
    assert path.read_bytes() == b"one\nha\ntwo\nthree\n"


def test_a_full_disk_gets_a_sentence_and_the_next_line_stands_alone(tmp_path: Path) -> None:
    path = tmp_path / "lines"
    program = f"""
import pathlib, resource
from gancore_training.lines import append_line
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
try:
    append_line(pathlib.Path({str(path)!r}), "x" * 5000)
except Exception as error:
    print(type(error).__name__, error)
"""
    done = subprocess.run([sys.executable, "-c", program], check=False, capture_output=True, text=True)
    assert done.stdout.split()[0] == "GancoreError", done
    append_line(path, "whole")
    assert path.read_text().splitlines()[-1] == "whole"

"""A file is there whole or not at all."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from gancore import GancoreError
from gancore.files import atomic
from gancore.files.atomic import replacing, sweep, write_text


def test_what_was_written_takes_the_place_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "file.txt"
    write_text(path, "old")
    with replacing(path) as beside:
        beside.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert list(path.parent.iterdir()) == [path]


def test_what_fails_half_way_leaves_the_old_file_and_nothing_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "file.txt"
    write_text(path, "old")
    with pytest.raises(TypeError), replacing(path) as beside:
        _fail_half_way(beside)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def _fail_half_way(path: Path) -> None:
    path.write_text("half")
    raise TypeError


def test_a_place_that_cannot_be_written_gets_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(GancoreError, match=r"file/below can't be written: .*; choose another --out, or free space there\.$"):
        write_text(tmp_path / "file" / "below", "text")
    with (
        pytest.raises(GancoreError, match=r"can't be written: .*; think\.$"),
        replacing(tmp_path, "think") as beside,
    ):
        beside.write_text("text")


def test_what_a_killed_writer_left_is_removed_and_what_a_living_one_writes_is_not(tmp_path: Path) -> None:
    program = "import os, pathlib, sys\nfrom gancore.files.atomic import replacing\n"
    program += "with replacing(pathlib.Path(sys.argv[1]) / 'other'):\n    os._exit(9)"
    assert subprocess.run([sys.executable, "-c", program, str(tmp_path)], check=False).returncode == 9
    (left,) = tmp_path.iterdir()
    with replacing(tmp_path / "one") as first:
        assert not left.exists()
        write_text(tmp_path / "two", "two")
        first.write_text("one")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one", "two"]


def test_what_another_host_writes_is_left_to_it(tmp_path: Path) -> None:
    elsewhere = tmp_path / ".one.0123abcd.deadbeef.gancore-part"
    elsewhere.touch()
    write_text(tmp_path / "two", "two")
    assert elsewhere.exists()


def test_nobody_can_foresee_the_temporary_name_and_links_are_not_followed(tmp_path: Path) -> None:
    names = set()
    for _ in range(2):
        with replacing(tmp_path / "file") as beside:
            names.add(beside.name)
            beside.write_text("")
    assert len(names) == 2
    victim = tmp_path / "victim"
    victim.write_text("somebody's\n")
    (tmp_path / "link").symlink_to(victim)
    (tmp_path / f".a.b{atomic._SUFFIX}").symlink_to(victim)
    sweep(tmp_path)
    write_text(tmp_path / "link", "of its own")
    assert victim.read_text() == "somebody's\n"


def test_a_file_has_the_permissions_that_any_other_would_have(tmp_path: Path) -> None:
    (tmp_path / "plain").touch()
    write_text(tmp_path / "file", "text")
    modes = {path.stat().st_mode for path in tmp_path.iterdir()}
    assert len(modes) == 1


def test_a_full_disk_gets_a_sentence_and_leaves_nothing_beside_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_text(path, "old")
    program = f"""
import pathlib, resource
from gancore.files.atomic import write_text
path = pathlib.Path({str(path)!r})
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
try:
    write_text(path, "x" * 5000)
except Exception as error:
    print(type(error).__name__, error)
"""
    done = subprocess.run([sys.executable, "-c", program], check=False, capture_output=True, text=True)
    assert [line.split()[0] for line in done.stdout.splitlines()] == ["GancoreError"], done
    assert path.read_text() == "old"
    assert sorted(each.name for each in tmp_path.iterdir()) == ["file"]

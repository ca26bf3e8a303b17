"""A file is there whole or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from gancore import GancoreError
from gancore.files.atomic import replacing, write_text


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

"""Reading and writing TOML."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from gancore import GancoreError
from gancore.files import toml

TABLE = {
    "summary": 'a "quoted" text with \\ and ü and\nnewline\ttab \x01',
    "run": {"iterations": 10, "lr": 2e-4, "tiny": 1e-30, "flag": True, "empty": [], "list": [1, 2.5, "x", [1, 2]]},
    "losses": {"a": {"use": "standard/hinge", "weight": -0.0}, "b-c": {"odd key": {"deep": False}}, "none": {}},
    "inline": [{"a": 1}, {"b": [True]}],
}


def test_what_is_written_reads_back_equal() -> None:
    assert tomllib.loads(toml.dumps(TABLE)) == TABLE


def test_none_is_left_out() -> None:
    assert tomllib.loads(toml.dumps({"run": {"a": None, "b": 1}})) == {"run": {"b": 1}}


@pytest.mark.parametrize(
    ("text", "meaning"),
    [("5", 5), ("2e-4", 2e-4), ("true", True), ("[1, 2]", [1, 2]), ('"x"', "x"), ("hinge", "hinge"), ("a/b", "a/b")],
)
def test_the_right_side_of_set_is_toml_or_a_bare_word(text: str, meaning: object) -> None:
    assert toml.value(text) == meaning
    assert type(toml.value(text)) is type(meaning)


def test_a_mark_of_the_encoding_is_no_part_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "r.toml").write_text("[run]\nseed = 1\n", encoding="utf-8-sig")
    assert toml.read(tmp_path / "r.toml") == {"run": {"seed": 1}}


@pytest.mark.parametrize(
    ("content", "sentence"),
    [(b"[run\n", "is not valid TOML"), (b"\xff\xfe", "is not a text file in UTF-8"), (None, "can't be read")],
)
def test_a_bad_file_is_named_with_its_fault(tmp_path: Path, content: bytes | None, sentence: str) -> None:
    path = tmp_path / "r.toml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(GancoreError, match=sentence) as caught:
        toml.read(path)
    assert str(path) in str(caught.value)

"""What a sentence quotes is short, and nothing in it is obeyed by a terminal."""

from __future__ import annotations

import pytest

from gancore.errors import did_you_mean, plain, sentence, shown


@pytest.mark.parametrize("value", ["x" * 1000, ["y"] * 1000, {"a": "z" * 500}, [1 << 100_000]])
def test_a_long_value_is_cut(value: object) -> None:
    assert len(shown(value)) <= 60


def test_a_short_value_is_its_repr() -> None:
    assert shown("it's") == repr("it's")
    assert shown(1.5) == "1.5"


def test_a_text_is_plain() -> None:
    assert plain("a\x1b[31mb\x9bc\u202ed\ne\tf\x00\udce9") == "a?[31mb?c?d e f??"
    assert plain("Fréchet, 生成 ✓") == "Fréchet, 生成 ✓"


def test_a_long_line_loses_its_middle_and_keeps_its_end() -> None:
    text = sentence(ValueError(f"{'x' * 1000} is wrong; do this instead.\n-two\x1b"))
    first, second = text.split("\n")
    assert len(first) <= 400
    assert first.endswith("is wrong; do this instead.")
    assert second == "-two?"


def test_the_nearest_name_stands_before_any_mark() -> None:
    assert did_you_mean("hnige", ["hinge"]) == " (did you mean 'hinge'?)"
    assert did_you_mean("x" * 100_000, ["hinge"]) == ""

"""Tables of scores: alignment, breaking, digits, means."""

from __future__ import annotations

import numpy as np
import pytest
from gancore_report.tables import decimals, markdown, mean_and_deviation, plain

LINES = [["run", "one", "two", "three"], ["a long name", "1", "22", "333"]]


def test_a_table_that_fits_is_not_broken() -> None:
    whole = ["run          one  two  three", "a long name    1   22    333"]
    assert plain(LINES) == plain(LINES, len(whole[0])) == whole


def test_a_wider_table_is_broken_between_columns_and_names_its_rows_again() -> None:
    assert plain(LINES, 27) == [
        "run          one  two",
        "a long name    1   22",
        "",
        "run          three",
        "a long name    333",
    ]


def test_a_column_that_is_too_wide_alone_is_still_shown() -> None:
    assert plain(LINES, 3)[-2:] == ["run          three", "a long name    333"]


def test_markdown_keeps_a_name_with_a_bar_in_one_cell() -> None:
    assert markdown(["run", "x "], [["a|b", " 1 "]]) == ["| run | x |", "| --- | ---: |", "| a\\|b | 1 |"]


@pytest.mark.parametrize(
    ("values", "digits"), [([0.03, 0.012], 5), ([91.2], 2), ([1442.0], 0), ([0.0], 4), ([1e-9], 6), ([float("inf"), 2.0], 3)]
)
def test_a_column_shows_four_digits_of_its_largest_value(values: list[float], digits: int) -> None:
    assert decimals(values) == digits


def test_a_deviation_that_is_not_finite_is_told() -> None:
    mean, deviation = mean_and_deviation([float("nan"), 1.0])
    assert deviation is not None
    assert np.isnan([mean, deviation]).all()


@pytest.mark.parametrize("values", [[float("inf"), float("-inf")], [1e308, 1e308], [1e200, 0.0]])
def test_a_mean_beyond_the_largest_number_is_not_finite_and_no_failure(values: list[float]) -> None:
    _, deviation = mean_and_deviation(values)
    assert deviation is not None
    assert not np.isfinite(deviation)

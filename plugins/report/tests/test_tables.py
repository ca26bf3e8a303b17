"""Tables of scores: alignment, breaking, digits, means."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from gancore_report.reading import RunData
from gancore_report.scores import Column, Row, ScoredRun, ScoreTable, decimals, mean_and_deviation
from gancore_report.tables import as_markdown, as_text, markdown, plain

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


RUN = RunData(Path("r"), {}, "", {}, [], [], [], [], {})


def column(name: str, better: str = "", **protocol: object) -> Column:
    return Column(name, str(protocol), protocol, better)


def row(label: str, *values: dict[Column, float]) -> Row:
    return Row(label, tuple(ScoredRun(RUN, f"{label}-{seed}", 7, scores) for seed, scores in enumerate(values)))


def test_a_table_whose_rows_are_alike_says_so_in_its_title_alone() -> None:
    a, b, other = column("a/a", "higher", id="1"), column("b/b", id="2"), column("b/b", id="3", n=4)
    rows = (row("whole", {a: 1.0, b: 250.0}), row("without losses.x", {a: 0.25, other: 9.5}))
    assert as_text(ScoreTable("r, seed 0", rows, head="variant", alike=True)).splitlines() == [
        "r, seed 0; best of a column: *",
        "",
        "variant            a/a ↑    b/b    b/b",
        "protocol               1      2      3",
        "whole             1.000*  250.0",
        "without losses.x  0.250          9.500",
        "",
        "- b: the protocols 2 and 3 differ in n (-, 4), so their values stand in columns of their own and can't be compared "
        "with each other.",
    ]


def test_a_mean_over_fewer_seeds_than_the_row_has_says_so() -> None:
    a = column("a/a", id="1")
    table = ScoreTable("r", (row("whole", {a: 1.0}, {a: 3.0}), row("some", {a: 1.0}, {}), row("none", {}, {})), alike=True)
    assert [line.split(" | ")[1] for line in as_markdown(table).splitlines()[4:]] == [
        "2.000 ± 1.414 |",
        "1.000 (1 of 2) |",
        "- |",
    ]


def test_what_a_terminal_would_obey_is_shown_instead() -> None:
    evil = "\x1b[2J\r\n\N{RIGHT-TO-LEFT OVERRIDE}x"
    a = Column(f"{evil}/a", "k", {"id": evil, "n": evil}, "")
    b = Column(f"{evil}/a", "l", {"id": evil, "n": 1}, "")
    table = ScoreTable(evil, (row(evil, {a: 1.0}), row("other", {b: 2.0})), remarks=(evil,))
    for text in (as_text(table), as_text(table, 80), as_markdown(table)):
        assert all(letter.isprintable() or letter == "\n" for letter in text)
        assert "[2J" in text


@pytest.mark.parametrize(
    ("text", "escaped"),
    [
        ("<script>a & b</script>", "&lt;script&gt;a &amp; b&lt;/script&gt;"),
        ("![x](https://x/y.png)", r"!\[x\](https://x/y.png)"),
        (r"\<img> `a` ~b~ \|", r"\\&lt;img&gt; \`a\` \~b\~ \\\|"),
        ("\x1b[2J\n# a", "\N{REPLACEMENT CHARACTER}\\[2J\N{REPLACEMENT CHARACTER}# a"),
    ],
)
def test_no_name_is_markup_in_a_markdown_table(text: str, escaped: str) -> None:
    assert markdown([text, text], [[text, text]])[::2] == [f"| {escaped} | {escaped} |"] * 2
    a, b = (Column(f"{text}/a", key, {"id": key, "n": text + key}, "") for key in "kl")
    page = as_markdown(ScoreTable(text, (row(text, {a: 1.0}), row("other", {b: 2.0})), remarks=(text,)))
    assert page.count(escaped) > 5
    assert text not in page

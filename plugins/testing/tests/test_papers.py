"""A table of a paper's settings finds what a recipe has otherwise, and departures that no comment tells."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
from gancore_testing.papers import ABSENT, Row, _check, _check_all_named, comments, paper_settings, setting

from gancore import GancoreError
from gancore.tools import read, registry

pytestmark = pytest.mark.skipif(importlib.util.find_spec("gancore_cbgan") is None, reason="asks for a paper's recipes")

RECIPE = "cbgan/cifar10-100"


def row(**changes: object) -> Row:
    return Row(**{"recipes": [RECIPE], "key": "losses.balance.weight", "value": 10.0, "source": "Table 11", **changes})


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("run.batch_size", 256),
        ("run.seed", 0),
        ("ema.start", 20_000),
        ("evaluation.split", "test"),
        ("losses.balance.use", "cbgan/class-balance"),
        ("losses.balance.every", 1),
        ("losses.balance.cycle", 2000),
        ("loop.discriminator_steps", 1),
        ("networks.classifier.trained_by", "cbgan/cifar10-classifier-100"),
        ("attacks.free.epsilon", ABSENT),
        ("optimizers.generator.schedule.base", ABSENT),
    ],
)
def test_a_setting_is_as_the_recipe_or_the_default_has_it(key: str, value: object) -> None:
    assert setting(read(RECIPE, registry()), key) == value


def test_a_schedule_is_found_under_what_it_changes() -> None:
    assert setting(read("cbgan/cifar10-annotator", registry()), "optimizers.classifier.schedule.factor") == 0.01


def test_a_setting_that_nothing_has_is_a_slip() -> None:
    with pytest.raises(GancoreError, match="has no setting 'cycel'"):
        setting(read(RECIPE, registry()), "losses.balance.cycel")


def test_another_value_than_the_papers_is_told() -> None:
    _check(row(), RECIPE)
    with pytest.raises(AssertionError, match=r"weight is 10\.0, and Table 11 has 20\.0"):
        _check(row(value=20.0), RECIPE)


def test_a_departure_needs_its_comment() -> None:
    departure = {"key": "optimizers.generator.lr", "value": 2e-3, "ours": 2e-4}
    _check(row(**departure, comment="Table 12 prints a learning rate of 0.002"), RECIPE)
    with pytest.raises(AssertionError, match="no comment in the files"):
        _check(row(**departure, comment="because"), RECIPE)
    with pytest.raises(AssertionError, match="names no words"):
        _check(row(**departure), RECIPE)


def test_patterns_name_recipes_and_a_pattern_of_none_is_a_slip() -> None:
    names = list(row(recipes=["cbgan/cifar10-10*"], but=["*gan", "*-few-labels"]).names())
    assert names == ["cbgan/cifar10-10", "cbgan/cifar10-100"]
    with pytest.raises(AssertionError, match="no recipe is called 'cbgan/cifra"):
        list(row(recipes=["cbgan/cifra*"]).names())


def test_a_fragment_is_read_over_a_recipe(tmp_path: Path) -> None:
    table = tmp_path / "paper.toml"
    table.write_text(
        '[[setting]]\nrecipes = ["cbgan/class-balance"]\nover = "cbgan/mnist-lt-baseline"\nkey = "losses.balance.weight"\n'
        'value = 10.0\nsource = "Table 11"\n'
    )
    (mark,) = paper_settings(table).pytestmark  # type: ignore[attr-defined]
    case, _ = mark.args[1]
    assert case.id == "cbgan/class-balance: losses.balance.weight (Table 11)"
    case.values[0]()


def test_a_recipe_that_no_row_names_stands_apart_with_a_reason() -> None:
    rows = [row(recipes=["cbgan/cifar*", "cbgan/lsun-*"])]
    small = dict.fromkeys(["cbgan/*-lt*", "cbgan/*-annotator", "cbgan/*-classifier"], "small")
    small |= {"cbgan/both-views": "scores"}
    rest = {**small, "cbgan/class-balance": "for any length"}
    _check_all_named(rows, rest)
    with pytest.raises(AssertionError, match=r"no row names the recipes \['cbgan/class-balance'\]"):
        _check_all_named(rows, small)
    with pytest.raises(AssertionError, match=r"or is no recipe: \['cbgan/lsun-1'\]"):
        _check_all_named(rows, {**rest, "cbgan/lsun-1": "small"})
    with pytest.raises(AssertionError, match="needs a reason"):
        _check_all_named(rows, {**rest, "cbgan/class-balance": ""})


def test_comments_are_lines_of_their_own(tmp_path: Path) -> None:
    path = tmp_path / "r.toml"
    path.write_text('# One,\n#   two.\nsummary = "# not this"\n')
    assert list(comments(path)) == ["One,", "two."]

"""What the conformance suite asks of recipes, and finds."""

from __future__ import annotations

import pytest
from gancore_testing.recipes import Small
from gancore_testing.suite import cases_of
from gancore_testing.tested import Remarks

from gancore.tools import registry

STILL = {"optimizers": {"generator": {"lr": 1e-300}}}


def test_the_suite_finds_a_recipe_that_does_not_move_a_player() -> None:
    with pytest.raises(AssertionError, match="no parameter of the generator has moved"):
        Small("standard/digits", STILL, registry()).moves()


def test_a_recipe_is_tried_with_few_images_and_neither_metrics_nor_the_networks_that_these_read() -> None:
    table = Small("standard/digits", {"run": {"batch_size": 5}}, registry()).table()
    assert (table["run"]["batch_size"], table["run"]["latent_dim"], table["metrics"]) == (5, 64, False)
    assert table["networks"]["annotator"] is False
    given = {"networks": {"annotator": {"use": "host/classifier"}}}
    assert Small("standard/digits", given, registry()).table()["networks"]["annotator"] == {"use": "host/classifier"}


def test_a_name_that_no_recipe_has_is_told() -> None:
    cases = dict(cases_of("standard", Remarks(recipes={"nothing": {}})))
    with pytest.raises(pytest.fail.Exception, match="names 'nothing', which is no recipe of standard"):
        cases["nothing: is a recipe"]()

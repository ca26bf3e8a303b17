"""The recipes, small: they train, and resume to the last bit."""

from __future__ import annotations

import pytest

from gancore.engine.run import Run
from gancore.plan.load import make_plan
from gancore.recipe.recipe import read
from tests.compose.hosts import CPU, registry, trains_and_resumes

RECIPES = ["primaldual/ring"]


def run_of(name: str) -> Run:
    """Return the run of a recipe with small batches."""
    return Run(make_plan(read(name, registry(), assignments=["run.batch_size=16"]), registry()), CPU)


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_trains_and_resumes_to_the_last_bit(name: str) -> None:
    trains_and_resumes(lambda: run_of(name))

"""The recipes, small: they train, and resume to the last bit."""

from __future__ import annotations

import pytest
import torch

from gancore.engine.run import Run
from gancore.plan.load import make_plan
from gancore.recipe.recipe import read
from tests.compose.hosts import CPU, registry, same, steps

RECIPES = ["coulombgan/ring"]


def run_of(name: str) -> Run:
    """Return the run of a recipe with small batches."""
    return Run(make_plan(read(name, registry(), assignments=["run.batch_size=16"]), registry()), CPU)


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_trains_and_resumes_to_the_last_bit(name: str) -> None:
    whole, first = steps(run_of(name), 4), steps(run_of(name), 2)
    saved = {key: tensor.detach().clone().contiguous() for key, tensor in first.tensors().items()}
    second = run_of(name)
    second.restore(saved, first.counters())
    assert same(whole, steps(second, 2)) == []
    assert all(value.isfinite() for value in whole.losses.values())
    untrained = run_of(name)
    for player in whole.players:
        pairs = zip(whole.players[player].parameters, untrained.players[player].parameters, strict=True)
        assert any(not torch.equal(a, b) for a, b in pairs), f"the {player} has not moved"

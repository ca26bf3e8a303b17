"""The recipes, small: they train, and resume to the last bit."""

from __future__ import annotations

import pytest
import torch
from gancore_training import TrainingRun

from gancore.plan.load import make_plan
from gancore.recipe.recipe import read
from tests.compose.hosts import CPU, registry, trains_and_resumes

RECIPES = ["sobolevgan/digits", "sobolevgan/digits-labels"]


def run_of(name: str) -> TrainingRun:
    """Return the run of a recipe with small batches."""
    return TrainingRun(make_plan(read(name, registry(), assignments=["run.batch_size=16"]), registry()), CPU)


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_trains_and_resumes_to_the_last_bit(name: str) -> None:
    trains_and_resumes(lambda: run_of(name))


def test_the_baseline_learns_from_labels_alone() -> None:
    """Its discriminator's only loss is the cross entropy of the labeled images, by the very weights of the other's start."""
    run, other = run_of("sobolevgan/digits-labels"), run_of("sobolevgan/digits")
    starts = zip(run.players["discriminator"].parameters, other.players["discriminator"].parameters, strict=True)
    assert all(torch.equal(a, b) for a, b in starts)
    batch = run.fresh()
    images, labels = batch.sides["labelled"]
    network, head = run.networks["discriminator"], run.heads["classes"]
    expected = torch.nn.functional.cross_entropy(head(network(images), labels), labels)
    run.phase("discriminator", batch)
    assert {name for name in run.losses if name.startswith("discriminator")} == {"discriminator/classes"}
    assert run.losses["discriminator/classes"].item() == pytest.approx(expected.item(), rel=1e-5)
    assert len({image.numpy().tobytes() for image in images}) <= 20

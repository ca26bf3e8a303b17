"""How the classifiers learn that the paper's recipes train first: on augmented images, whatever the GAN's are."""

from __future__ import annotations

import pytest
from gancore_training import prerequisites

from gancore.plan.load import make_plan
from gancore.recipe.tables import Augmentation
from gancore.tools import read, registry

DATA = {"cifar10": "standard/cifar10", "cifar100": "standard/cifar100", "lsun": "standard/lsun"}


@pytest.mark.parametrize(
    "name", ["cbgan/cifar10-100", "cbgan/cifar10-10", "cbgan/cifar10-1", "cbgan/cifar100-10", "cbgan/lsun-100"]
)
@pytest.mark.parametrize(("label", "tailed"), [("annotator", False), ("classifier", True)])
def test_classifiers_learn_on_flips_and_crops_of_the_gans_data(name: str, label: str, tailed: bool) -> None:
    plan = make_plan(read(name, registry()), registry())
    assert plan.recipe.augmentation == Augmentation()
    recipe = prerequisites.training_recipe(plan, f"networks.{label}")
    assert recipe.augmentation == Augmentation(flip=True, crop_padding=4)
    assert recipe.table["data"]["use"] == DATA[name.removeprefix("cbgan/").partition("-")[0]]
    # The classifier in the loop knows the tail alone; the annotator all images.
    assert recipe.table.get("samplers", {}) == (plan.recipe.table["samplers"] if tailed else {})

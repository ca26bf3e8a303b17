"""What a network that is trained first takes over of the recipe that needs it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import attrs
import pytest
from gancore_training import prerequisites

from gancore import GancoreError
from gancore.files import toml
from gancore.recipe.layers import merge
from gancore.recipe.recipe import Recipe
from gancore.recipe.tables import TABLES, Augmentation
from tests.hosts import plan_of

CLASSIFIER: dict[str, Any] = {
    "run": {"iterations": 3, "batch_size": 16, "seed": 5},
    "data": {"use": "standard/digits", "image_size": 16, "flip": True, "crop_padding": 2},
    "loop": {"use": "standard/supervised"},
    "latent": {"use": "standard/normal"},
    "sources": {"more": {"use": "standard/digits"}},
    "samplers": {"tail": {"use": "standard/long-tail", "ratio": 50.0}, "also": {"use": "standard/per-class", "count": 9}},
    "networks": {"classifier": {"use": "standard/small-cnn"}},
    "losses": {"loss": {"use": "standard/cross-entropy"}},
    "optimizers": {"classifier": {"use": "sgd", "lr": 0.5}},
    "metrics": {"distance": {"use": "standard/fid", "network": "classifier"}},
    "ema": {"decay": 0.5, "start": 7},
    "evaluation": {"samples": 33, "seed": 3},
}
"""A recipe that has every table that one may inherit in its place."""

INHERITABLE = sorted({*TABLES} - {"networks", "heads", "losses", "attacks", "loop", "latent", "metrics"})
"""Tables that make sense in the recipe of a classifier, whatever game they come from."""


def training(tmp_path: Path, inherits: list[str], *own: dict[str, Any], classifier: dict[str, Any] = CLASSIFIER) -> Recipe:
    """Return the recipe that trains a classifier for a game with some tables of its own."""
    path = tmp_path / "classifier.toml"
    path.write_text(toml.dumps(classifier))
    reads = {"metrics": {"classes": {"use": "standard/fid", "network": "classifier"}}}
    network = {"use": "standard/small-cnn", "trained_by": str(path), "inherits": inherits}
    plan = plan_of(reads, {"networks": {"classifier": network}}, *own)
    return prerequisites.training_recipe(plan, "networks.classifier")


@pytest.mark.parametrize("table", [name for name in INHERITABLE if name not in ("data", "run", "ema")])
@pytest.mark.parametrize("written", [True, False])
def test_a_table_that_is_empty_or_absent_replaces_the_other_too(table: str, written: bool, tmp_path: Path) -> None:
    recipe = training(tmp_path, ["data", table], {table: {}} if written else {})
    assert recipe.table.get(table, {}) == {}


def test_a_table_that_the_recipe_switches_off_is_off_there_too(tmp_path: Path) -> None:
    assert training(tmp_path, ["data", "ema"], {"ema": False}).ema is None


@pytest.mark.parametrize(
    ("table", "own"),
    [
        ("samplers", {"few": {"use": "standard/per-class", "count": 3}}),
        ("samplers", {"tail": {"use": "standard/long-tail"}}),
        ("optimizers", {"classifier": {"use": "torch/Adam", "lr": 0.25}}),
        ("evaluation", {"samples": 12}),
        ("ema", {"decay": 0.9}),
        ("run", {"iterations": 8, "batch_size": 16, "latent_dim": 8, "precision": "float32", "log_every": 2}),
    ],
)
def test_a_table_replaces_the_other_one_whole(table: str, own: dict[str, Any], tmp_path: Path) -> None:
    over = {} if table == "optimizers" else {table: own}
    recipe = training(tmp_path, ["data", table], over)
    if table == "optimizers":
        # A game has no classifier to train, so none of its optimizers is one for it either.
        assert recipe.table["optimizers"] == {}
    else:
        assert recipe.table[table] == own


def test_the_data_are_inherited_whole_and_their_augmentation_never(tmp_path: Path) -> None:
    recipe = training(tmp_path, ["data"])
    assert recipe.table["data"] == {"use": "standard/digits", "flip": True, "crop_padding": 2}
    assert recipe.augmentation == Augmentation(flip=True, crop_padding=2)
    own = {"data": {name: 3 if name == "crop_padding" else True for name in attrs.fields_dict(Augmentation)}}
    plain = merge(CLASSIFIER, {"data": False}) | {"data": {"use": "standard/digits"}}
    assert training(tmp_path, ["data"], own, classifier=plain).augmentation == Augmentation()


def test_samplers_that_change_a_drawn_batch_stay_with_their_own_training(tmp_path: Path) -> None:
    noisy = merge(CLASSIFIER, {"samplers": {"noise": {"use": "probe/noisy"}}})
    tail = {"samplers": {"own_noise": {"use": "probe/noisy"}, "few": {"use": "standard/per-class", "count": 3}}}
    recipe = training(tmp_path, ["data", "samplers"], tail, classifier=noisy)
    assert list(recipe.table["samplers"]) == ["noise", "few"]


def test_what_is_not_inherited_stays(tmp_path: Path) -> None:
    recipe = training(tmp_path, [], classifier=merge(CLASSIFIER, {"data": {"use": "standard/digits"}}))
    assert recipe.table["samplers"]["tail"]["ratio"] == 50.0
    assert (recipe.run.seed, recipe.evaluation.samples) == (5, 33)


def test_a_table_that_does_not_exist_can_not_be_inherited(tmp_path: Path) -> None:
    with pytest.raises(GancoreError, match=r"can't inherit \[sampler\]: there is no such table"):
        training(tmp_path, ["sampler"])

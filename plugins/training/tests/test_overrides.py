"""What a recipe sets in gancore's place is named where nothing can be computed with it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from gancore_training import train

from gancore import GancoreError
from tests.compose.hosts import GAME, plan_of


@pytest.mark.parametrize(
    ("place", "key"),
    [("heads.adversarial", "features"), ("networks.generator", "latent_dim"), ("networks.discriminator", "channels")],
)
def test_shapes_that_fit_nothing_are_named(place: str, key: str, tmp_path: Path) -> None:
    plan = plan_of({place.split(".")[0]: {place.split(".")[1]: {key: 3}}}, base=GAME)
    with pytest.raises(GancoreError, match=rf"it sets the {key} of .*{place} .*, which gancore knows") as error:
        train(plan.recipe, plan.registry, tmp_path / "run", device=torch.device("cpu"))
    assert len(str(error.value)) <= 400


def test_what_torch_raises_of_another_recipe_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> None:
        raise RuntimeError("of its own")

    monkeypatch.setattr("gancore_training.trainer._build", fail)
    plan = plan_of(base=GAME)
    with pytest.raises(RuntimeError, match=r"^of its own$"):
        train(plan.recipe, plan.registry, tmp_path / "run", device=torch.device("cpu"))

"""A loss term that says that it is a mean over images is one: for a mixture of images it is the mixture of its values."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor

from gancore.contract import complete
from gancore.plan import parameters_of
from tests.compose.hosts import registry

PLAYERS = ("generator", "discriminator", "classifier")
CONTEXT: dict[str, Any] = {"classes": 4, "class_counts": [9, 5, 3, 1], "iterations": 10}
NUMBER = 6


def _cases() -> Iterator[tuple[str, str]]:
    for declared in registry().components("loss"):
        if declared.plugin in ("probe", "host"):
            continue
        cls = registry().load(declared)
        for player in PLAYERS:
            if callable(getattr(cls, player, None)) and not cls.differentiates:
                yield declared.full_name, player


def _rows(name: str, noise: torch.Generator) -> Tensor | None:
    """Return what a parameter may be given for a number of images, or None for one that is no tensor of rows."""
    if name == "iteration":
        return None
    if name.endswith("_label"):
        return torch.randint(4, (NUMBER,), generator=noise)
    # A head's logit has one number for each image, everything else (logits of classes, features) a row of several.
    width = 16 if name.endswith("_features") else 4
    return torch.randn((NUMBER,) if name.endswith("_adversarial") else (NUMBER, width), generator=noise)


@pytest.mark.parametrize(("name", "player"), list(_cases()))
def test_the_value_of_a_mixture_is_the_mixture_of_values(name: str, player: str) -> None:
    cls = registry().load(registry().component("loss", name, "test"))
    term = cls(**complete(cls, {}, where=name, context=CONTEXT))
    noise = torch.Generator().manual_seed(0)
    halves = []
    for _ in range(2):
        rows = {parameter: _rows(parameter, noise) for parameter in parameters_of(getattr(cls, player))}
        halves.append({key: torch.tensor(0) if value is None else value for key, value in rows.items()})
    whole = {key: value if value.ndim == 0 else torch.cat([value, halves[1][key]]) for key, value in halves[0].items()}
    one, two, both = (float(getattr(term, player)(**arguments)) for arguments in (*halves, whole))
    is_mean = both == pytest.approx((one + two) / 2, rel=1e-5, abs=1e-6)
    assert is_mean or not cls.mean_over_images, f"{name} is {both} for the mixture of images of {one} and {two}"
    # That the others are none shows that this test would see it; a weighted cross entropy is one until weights begin.
    assert not is_mean or cls.mean_over_images or name == "standard/cross-entropy"


def test_the_terms_that_are_no_means_are_named() -> None:
    cases = {name for name, _ in _cases()}
    declared = {name for name in cases if not registry().load(registry().component("loss", name, "test")).mean_over_images}
    assert declared >= {
        "standard/relativistic-average",
        "dsgan/pull-away",
        "dsgan/feature-matching",
        "cbgan/class-balance",
        "uap/fooling",
    }

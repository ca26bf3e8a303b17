"""A loss term that says that it is a mean over images is one: for a mixture of images it is the mixture of its values."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor

from gancore.contract import complete, settings_of
from gancore.plan import parameters_of
from tests.compose.hosts import registry

PLAYERS = ("generator", "discriminator", "classifier")
CONTEXT: dict[str, Any] = {"classes": 4, "class_counts": [9, 5, 3, 1], "iterations": 10, "attributes": 4}
CONTEXT |= {"channels": 1, "image_size": 8, "latent_dim": 4}
SETTINGS: dict[str, dict[str, Any]] = {"primaldual/dual-update": {"bandwidth": 1.0}, "sobolevgan/fisher": {"rho": 1.0}}
"""What has no default, or one by which the term is too small to be seen."""
NUMBER = 6

SOMETIMES = ("standard/cross-entropy", "coulombgan/potential", "primaldual/dual-update")
"""No means, whose values may be: until weights begin, for one of two players, and where the step of the density is small."""


def _cases() -> Iterator[tuple[str, str]]:
    for declared in registry().components("loss"):
        if declared.plugin in ("probe", "host"):
            continue
        cls = registry().load(declared)
        for player in PLAYERS:
            reads_images = callable(getattr(cls, player, None)) and "parameters" not in parameters_of(getattr(cls, player))
            if reads_images and not cls.differentiates:
                yield declared.full_name, player


def _value(term: Any, player: str, arguments: dict[str, Any]) -> float:
    """Return a term's loss, whatever it keeps for `observe`."""
    loss = getattr(term, player)(**arguments)
    value: Tensor = loss[0] if isinstance(loss, tuple) else loss
    return float(value.detach())


def _joined(one: Any, two: Any) -> Any:
    """Return the rows of two halves as one batch; what has no rows is the first's."""
    if isinstance(one, list):
        return [*map(_joined, one, two)]
    return one if one.ndim == 0 else torch.cat([one, two])


def _rows(name: str, noise: torch.Generator, *, attributes: bool) -> Tensor | list[Tensor] | None:
    """Return what a parameter may be given for a number of images, or None for one that is no tensor of rows."""
    if name == "iteration":
        return None
    if name.endswith("_label"):
        if attributes:
            return torch.randint(2, (NUMBER, 4), generator=noise)
        return torch.randint(4, (NUMBER,), generator=noise)
    if name in ("real", "fake"):
        return torch.randn(NUMBER, 1, 8, 8, generator=noise)
    if name.endswith("_preactivations"):
        return [torch.randn(NUMBER, 8, generator=noise) for _ in range(2)]
    # A head's logit has one number for each image, everything else (logits of classes, features) a row of several.
    width = 16 if name.endswith("_features") else 4
    return torch.randn((NUMBER,) if name.endswith("_adversarial") else (NUMBER, width), generator=noise)


@pytest.mark.parametrize(("name", "player"), list(_cases()))
def test_the_value_of_a_mixture_is_the_mixture_of_values(name: str, player: str) -> None:
    cls = registry().load(registry().component("loss", name, "test"))
    term = cls(**complete(cls, SETTINGS.get(name, {}), where=name, context=CONTEXT))
    attributes = "attributes" in settings_of(cls)
    noise = torch.Generator().manual_seed(0)
    halves = []
    for _ in range(2):
        rows = {parameter: _rows(parameter, noise, attributes=attributes) for parameter in parameters_of(getattr(cls, player))}
        halves.append({key: torch.tensor(0) if value is None else value for key, value in rows.items()})
    whole = {key: _joined(value, halves[1][key]) for key, value in halves[0].items()}
    one, two, both = (_value(term, player, arguments) for arguments in (*halves, whole))
    is_mean = both == pytest.approx((one + two) / 2, rel=1e-5, abs=1e-6)
    assert is_mean or not cls.mean_over_images, f"{name} is {both} for the mixture of images of {one} and {two}"
    # That the others are none shows that this test would see it.
    assert not is_mean or cls.mean_over_images or name in SOMETIMES


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

"""A generator that ignores its labels is not trained towards labels."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import gancore
from gancore import GancoreError
from gancore.engine.run import Run
from gancore.registry import Registry
from gancore.testing import host
from tests import hosts, probe, standin
from tests.hosts import CPU, same, steps

# -- the plugin of this module -----------------------------------------------------------------------------------------


class Gated(gancore.Generator):
    """Conditional by an embedding that starts at 0, so that at first no image depends on its label."""

    def __init__(self, *, channels: int, image_size: int, latent_dim: int, classes: int, obeys: bool = True) -> None:
        super().__init__()
        self.latent_dim, self.shape, self.obeys = latent_dim, (channels, image_size, image_size), obeys
        self.embedding = nn.Embedding(classes, latent_dim)
        nn.init.zeros_(self.embedding.weight)
        self.norm, self.linear = nn.BatchNorm1d(latent_dim), nn.Linear(latent_dim, channels * image_size**2)

    def forward(self, z: Tensor, label: Tensor | None = None) -> Tensor:
        z = self.norm(z)
        if label is not None and self.obeys:
            z = z + self.embedding(label)
        return torch.tanh(self.linear(z)).view(-1, *self.shape)


class Styled(gancore.Translator):
    """Makes its images of the real ones, and of labels or not."""

    def __init__(self, *, latent_dim: int, classes: int, obeys: bool = True) -> None:
        super().__init__()
        self.latent_dim, self.obeys = latent_dim, obeys
        self.shade = nn.Embedding(classes, 1)

    def translate(self, images: Tensor, z: Tensor, label: Tensor | None) -> Tensor:
        shade = self.shade(label) if self.obeys else self.shade.weight.mean(0, keepdim=True)
        return (images + shade[:, :, None, None]).clamp(-1, 1)


@gancore.hookimpl
def gancore_networks() -> Iterator[gancore.Component]:
    for name in ("Gated", "Styled"):
        yield gancore.Component(name.lower(), f"{__name__}:{name}", name)


REGISTRY = Registry.of({"standard": standin, "probe": probe, "host": host, "labels": sys.modules[__name__]})

CLASSES: dict[str, Any] = {
    "heads": {"classes": {"use": "standard/auxiliary-classifier"}},
    "losses": {"classes": {"use": "standard/auxiliary-classifier"}},
}
PROJECTION: dict[str, Any] = {"heads": {"adversarial": {"use": "standard/projection"}}}
JUDGES = {"losses.classes": CLASSES, "heads.adversarial": PROJECTION}


def run_of(*tables: dict[str, Any]) -> Run:
    return Run(hosts.plan_of(*tables, plugins=REGISTRY), CPU)


def generator(use: str, **settings: Any) -> dict[str, Any]:
    return {"networks": {"generator": {"use": use, **settings}}}


IGNORING = {
    "another": generator("probe/tiny-generator"),
    "one with a setting": generator("standard/dcgan-generator", conditional=False),
    "one that has what it needs and leaves it": generator("labels/gated", obeys=False),
    "one that translates": generator("labels/styled", obeys=False),
}
OBEYING = {
    "one with a setting": generator("standard/dcgan-generator", conditional=True),
    "one whose labels change nothing yet": generator("labels/gated"),
    "one that translates": generator("labels/styled"),
    "one by its latent": {**generator("probe/tiny-generator"), "latent": {"use": "probe/mixture"}},
}


@pytest.mark.parametrize("judge", JUDGES)
@pytest.mark.parametrize("kind", IGNORING)
def test_what_reads_labels_is_refused_over_a_generator_that_ignores_them(kind: str, judge: str) -> None:
    with pytest.raises(GancoreError, match=f"test: {judge} .* by labels that test: networks.generator .* ignores") as caught:
        run_of(IGNORING[kind], JUDGES[judge])
    assert len(str(caught.value)) <= 400
    assert str(caught.value).endswith(".")


@pytest.mark.parametrize("judge", JUDGES)
@pytest.mark.parametrize("kind", OBEYING)
def test_it_trains_a_generator_that_obeys_them(kind: str, judge: str) -> None:
    steps(run_of(OBEYING[kind], JUDGES[judge]), 1)


def test_classes_of_real_images_alone_go_with_any_generator() -> None:
    steps(run_of(CLASSES, {"losses": {"classes": {"players": ["discriminator"]}}}), 1)


def test_a_further_generator_is_held_to_the_same() -> None:
    twin = {
        "loop": {"use": "probe/two-generators"},
        "networks": {"twin": {"use": "probe/tiny-generator"}, "generator": {"use": "labels/gated"}},
        "losses": {"twin": {"use": "probe/twin"}},
    }
    with pytest.raises(GancoreError, match=r"heads.adversarial .* labels that test: networks.twin .* ignores"):
        run_of(twin, PROJECTION)


def test_the_measurement_leaves_no_trace() -> None:
    """Neither statistics of batch norm, nor power iterations, nor random numbers, nor modes change by it."""
    state = torch.get_rng_state()
    run = run_of(OBEYING["one whose labels change nothing yet"], PROJECTION)
    assert torch.equal(torch.get_rng_state(), state)
    assert run.networks["generator"].norm.num_batches_tracked == 0
    assert run.networks["generator"].training
    assert run.heads["adversarial"].training
    plain = run_of(OBEYING["one whose labels change nothing yet"])
    assert [name for name in same(run, plain) if name.startswith("network")] == []

"""The networks: widths and layers of the public code, and where the label goes."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from gancore_triplegan.networks import (
    ConvClassifier,
    ConvDiscriminator,
    ConvGenerator,
    MLPDiscriminator,
    MLPGenerator,
    MnistClassifier,
    beside,
)
from torch import Tensor, nn

from gancore import GancoreError

COLOR: dict[str, Any] = {"channels": 3, "image_size": 32, "classes": 10}
GRAY: dict[str, Any] = {"channels": 1, "image_size": 28, "classes": 10}


def weights(network: nn.Module) -> list[tuple[int, ...]]:
    kinds = (nn.Linear, nn.Conv2d, nn.ConvTranspose2d)
    return [tuple(layer.weight.shape) for layer in network.modules() if isinstance(layer, kinds)]


def test_the_label_stands_behind_rows_and_maps() -> None:
    label = torch.tensor([2, 0])
    rows = beside(torch.zeros(2, 3), label, 4)
    assert rows.tolist() == [[0, 0, 0, 0, 0, 1, 0], [0, 0, 0, 1, 0, 0, 0]]
    maps = beside(torch.zeros(2, 3, 5, 5), label, 4)
    assert maps.shape == (2, 7, 5, 5)
    assert torch.equal(maps, rows[:, :, None, None].expand(-1, -1, 5, 5))


def test_layers_are_those_of_the_public_code() -> None:
    assert weights(MLPGenerator(latent_dim=100, **GRAY)) == [(500, 110), (500, 510), (784, 510)]
    # The code's second layer has 1,020 inputs, for it is given the label twice, once under noise.
    assert weights(MLPDiscriminator(**GRAY)) == [(1000, 794), (500, 1010), (250, 510), (250, 260), (250, 260)]
    assert weights(MnistClassifier(**GRAY)) == [
        (32, 1, 5, 5),
        (64, 32, 3, 3),
        (64, 64, 3, 3),
        (128, 64, 3, 3),
        (128, 128, 3, 3),
        (10, 128),
    ]
    assert weights(ConvGenerator(latent_dim=100, **COLOR)) == [
        (8192, 110),
        (522, 256, 5, 5),
        (266, 128, 5, 5),
        (138, 3, 5, 5),
    ]
    assert weights(ConvDiscriminator(**COLOR)) == [
        (32, 13, 3, 3),
        (32, 42, 3, 3),
        (64, 42, 3, 3),
        (64, 74, 3, 3),
        (128, 74, 3, 3),
        (128, 138, 3, 3),
    ]
    assert weights(ConvClassifier(**COLOR)) == [
        (128, 3, 3, 3),
        *[(128, 128, 3, 3)] * 2,
        (256, 128, 3, 3),
        *[(256, 256, 3, 3)] * 2,
        (512, 256, 3, 3),
        (256, 512, 1, 1),
        (128, 256, 1, 1),
        (10, 128),
    ]


@pytest.mark.parametrize(
    ("network", "size", "rows"), [(MLPDiscriminator, 28, 260), (ConvDiscriminator, 32, 138)], ids=["mlp", "conv"]
)
def test_a_discriminator_judges_the_pair(network: Any, size: int, rows: int) -> None:
    torch.manual_seed(0)
    built = network(channels=1, image_size=size, classes=10).eval()
    x = torch.rand(4, 1, size, size) * 2 - 1
    one, other = built(x, torch.zeros(4, dtype=torch.int64)), built(x, torch.full((4,), 3))
    assert one.shape == (4, rows)
    assert built.features == rows
    # Behind the layers stands the label, and the layers have seen it too.
    assert torch.equal(other[:, -10:], torch.eye(10)[3].expand(4, -1))
    assert not torch.allclose(one[:, :-10], other[:, :-10])


@pytest.mark.parametrize(("network", "size"), [(MLPGenerator, 28), (ConvGenerator, 32)], ids=["mlp", "conv"])
def test_a_generator_obeys_its_label(network: Any, size: int) -> None:
    torch.manual_seed(0)
    built = network(channels=1, image_size=size, latent_dim=100, classes=10)
    z = torch.rand(64, 100) * 2 - 1
    images: list[Tensor] = [built(z, torch.full((64,), label)) for label in (0, 7)]
    assert images[0].shape == (64, 1, size, size)
    assert all(float(each.detach().abs().max()) <= 1 for each in images)
    # Within a batch of one label batch norm takes the first layer's difference away; the labels of a batch differ.
    mixed = built(z, torch.arange(64) % 10)
    assert not torch.allclose(mixed, images[0], atol=1e-4)


def test_what_does_not_fit_is_refused() -> None:
    small: dict[str, Any] = {"channels": 1, "image_size": 8, "classes": 10}
    for network in (ConvDiscriminator, ConvClassifier, MnistClassifier):
        with pytest.raises(GancoreError, match=r"needs images of 1\d px or more, not 8"):
            network(**small)
    with pytest.raises(GancoreError, match="multiple of 8, not 12"):
        ConvGenerator(channels=1, image_size=12, latent_dim=8, classes=10)
    for network, least in ((ConvDiscriminator, 17), (ConvClassifier, 12), (MnistClassifier, 12)):
        built = network(channels=1, image_size=least, classes=10).eval()
        labels = (torch.zeros(2, dtype=torch.int64),) if network is ConvDiscriminator else ()
        assert len(built(torch.zeros(2, 1, least, least), *labels)) == 2

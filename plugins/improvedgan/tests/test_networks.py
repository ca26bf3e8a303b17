"""Networks: virtual batch norm by parity vectors and by hand, and layers that start from data."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from gancore_improvedgan.networks import ConvDiscriminator, MnistDiscriminator
from gancore_improvedgan.virtual_batch_norm import VirtualBatchNorm, VirtualDiscriminator, VirtualGenerator
from gancore_standard.tools import GaussianNoise
from torch import Tensor, nn

from gancore import GancoreError

Load = Callable[[str], dict[str, Any]]


def test_virtual_batch_norm_agrees_with_the_authors_code(parity: Load) -> None:
    vectors = {name: torch.as_tensor(value) for name, value in parity("vbn").items()}
    layer = VirtualBatchNorm(3).double()
    with torch.no_grad():
        layer.weight.copy_(vectors["gamma"])
        layer.bias.copy_(vectors["beta"])
    reference, x = layer(vectors["ref"], vectors["x"])
    torch.testing.assert_close(reference, vectors["out_ref"], rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(x, vectors["out_x"], rtol=1e-9, atol=1e-9)


def test_the_reference_batch_is_normalized_as_by_batch_norm_and_an_image_as_if_it_had_joined_it() -> None:
    torch.manual_seed(0)
    layer, plain = VirtualBatchNorm(3), nn.BatchNorm2d(3, affine=False)
    nn.init.ones_(layer.weight)
    reference, x = torch.randn(6, 3, 4, 4), 3 + torch.randn(2, 3, 4, 4)
    normed, live = layer(reference, x)
    torch.testing.assert_close(normed, plain(reference), rtol=1e-4, atol=1e-5)
    for number in range(2):
        joined = plain(torch.cat([reference, x[number : number + 1]]))[-1]
        torch.testing.assert_close(live[number], joined, rtol=1e-4, atol=1e-5)


def test_a_channel_that_hardly_varies_about_a_large_mean_is_normalized() -> None:
    # Its mean square less its squared mean is below 0, by rounding.
    torch.manual_seed(0)
    layer = VirtualBatchNorm(32)
    reference, x = (300 + 0.01 * torch.randn(number, 32, 8, 8) for number in (64, 5))
    assert all(normed.isfinite().all() for normed in layer(reference, x))


@pytest.mark.parametrize("latent", ["normal", "uniform"])
def test_an_image_of_the_generator_depends_on_its_latent_alone(latent: Any) -> None:
    torch.manual_seed(0)
    network = VirtualGenerator(channels=3, image_size=16, latent_dim=5, width=0.25, reference=7, latent=latent)
    z = torch.randn(4, 5)
    images = network(z)
    assert images.shape == (4, 3, 16, 16)
    assert images.abs().max() <= 1
    torch.testing.assert_close(network(z[2:3])[0], images[2], rtol=1e-4, atol=1e-6)
    assert (network.reference.abs().max() <= 1) == (latent == "uniform")
    assert {name for name, _ in network.named_buffers()} == {"reference"}


def test_the_generator_may_obey_its_labels_of_which_the_reference_batch_has_some_of_each() -> None:
    torch.manual_seed(0)
    network = VirtualGenerator(channels=1, image_size=8, latent_dim=5, classes=3, width=0.25, reference=6, conditional=True)
    z, label = torch.randn(4, 5), torch.tensor([0, 1, 2, 0])
    images = network(z, label)
    assert images.shape == (4, 1, 8, 8)
    torch.testing.assert_close(network(z[1:2], label[1:2])[0], images[1], rtol=1e-4, atol=1e-6)
    assert not torch.allclose(network(z, (label + 1) % 3), images)
    assert network.reference[:, 5:].sum(0).tolist() == [2, 2, 2]


def test_the_discriminators_reference_batch_is_the_first_batch_and_no_activation_is_of_it() -> None:
    torch.manual_seed(0)
    network = VirtualDiscriminator(channels=1, image_size=16, batch_size=6, width=0.25)
    first, x = torch.randn(6, 1, 16, 16), torch.randn(3, 1, 16, 16)
    before = network(x)
    network.initialize(first, torch.Generator())
    assert torch.equal(network.reference, first)
    assert not torch.allclose(network(x), before)
    rows: list[int] = []
    for layer in network.hidden_layers():
        layer.register_forward_hook(lambda _module, _inputs, output: rows.append(len(output)))
    network(x)
    assert rows == [3, 3]


@pytest.mark.parametrize("size", [4, 12, 28])
def test_sizes_that_no_doubling_reaches_are_refused(size: int) -> None:
    for build in (
        lambda: VirtualGenerator(channels=1, image_size=size, latent_dim=2),
        lambda: VirtualDiscriminator(channels=1, image_size=size, batch_size=4),
    ):
        with pytest.raises(GancoreError, match=rf"power of two of pixels, at least 8, not {size}; set data.image_size"):
            build()


def moments(network: Any, x: Tensor) -> list[tuple[float, float]]:
    """Mean and deviation of what each weight-normed layer gives, over all units."""
    seen: list[tuple[float, float]] = []

    def take(_module: nn.Module, _inputs: Any, output: Tensor) -> None:
        dims = [dim for dim in range(output.ndim) if dim != 1]
        deviation, mean = torch.std_mean(output, dims, correction=0)
        seen.append((float(mean.abs().max()), float((deviation - 1).abs().max())))

    for layer in network.layers:
        if isinstance(layer, nn.Linear | nn.Conv2d):
            layer.register_forward_hook(take)
    with torch.no_grad():
        network(x)
    return seen


@pytest.mark.parametrize(
    "network",
    [
        MnistDiscriminator(channels=1, image_size=12, width=0.05, input_noise=0.0, noise=0.0),
        ConvDiscriminator(channels=1, image_size=12, maps=[8, 8, 8, 8, 8]),
    ],
    ids=["linear", "convolutional"],
)
def test_after_a_start_from_data_each_output_has_mean_0_and_deviation_1(network: Any) -> None:
    images = torch.rand(64, 1, 12, 12)
    assert max(deviation for _, deviation in moments(network.eval(), images)) > 0.1
    with torch.no_grad():
        network.initialize(images, torch.Generator().manual_seed(0))
    for mean, deviation in moments(network, images):
        assert mean < 1e-3
        assert deviation < 1e-3


def test_a_start_from_data_draws_from_its_noise_alone() -> None:
    torch.manual_seed(0)
    network = MnistDiscriminator(channels=1, image_size=8, width=0.05)
    images, state = torch.rand(32, 1, 8, 8), {name: value.clone() for name, value in network.state_dict().items()}

    def started(seed: int, default: int) -> list[Tensor]:
        network.load_state_dict(state)
        torch.manual_seed(default)
        with torch.no_grad():
            network.initialize(images, torch.Generator().manual_seed(seed))
        return [value.clone() for value in network.state_dict().values()]

    assert all(map(torch.equal, started(0, 0), started(0, 1)))
    assert not all(map(torch.equal, started(0, 0), started(1, 0)))


def test_the_noise_is_there_in_training_alone() -> None:
    noise, x = GaussianNoise(2.0), torch.zeros(100000)
    assert noise(x).std().item() == pytest.approx(2.0, rel=0.02)
    assert torch.equal(noise.eval()(x), x)


def test_the_convolutional_discriminator_is_the_papers_and_refuses_what_it_is_not() -> None:
    network = ConvDiscriminator(channels=3, image_size=32)
    shapes = [layer.weight.shape for layer in network.layers if isinstance(layer, nn.Conv2d)]
    assert [tuple(shape[:3]) for shape in shapes] == [
        *[(96, 3, 3), (96, 96, 3), (96, 96, 3), (192, 96, 3), (192, 192, 3), (192, 192, 3)],
        *[(192, 192, 3), (192, 192, 1), (192, 192, 1)],
    ]
    assert network.layers[:-6](torch.zeros(1, 3, 32, 32)).shape[2:] == (8, 8)
    with pytest.raises(GancoreError, match="at least 9 px, not 8"):
        ConvDiscriminator(channels=1, image_size=8)
    for maps in ([96], [8, 8, 8, 8], [8] * 6):
        with pytest.raises(GancoreError, match="five numbers"):
            ConvDiscriminator(channels=1, image_size=32, maps=maps)

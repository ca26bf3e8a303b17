"""RobGAN's networks: layer by layer the public code's, by weights that a formula gives."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from gancore_fastrobgan.classifiers import PreActResNet18, VGG16Discriminator
from gancore_fastrobgan.networks import ConditionalNorm, PlainDiscriminator, RobGANDiscriminator, RobGANGenerator
from torch import Tensor, nn

from gancore import GancoreError
from gancore.tools import read, registry
from tests.formulas import formula_values, grid_img

Load = Callable[[str], dict[str, Any]]

FINE_TUNING = [name for name in sorted(registry().recipes()) if name.startswith("fastrobgan/") and "fine-tune" in name]

OWN = {
    "c1": "convolution1",
    "c2": "convolution2",
    "c_sc": "shortcut",
    "b1": "norm1",
    "b2": "norm2",
    "b_sc": "norm3",
    "avg_mean": "norm.running_mean",
    "avg_var": "norm.running_var",
    "gammas": "gain",
    "betas": "bias",
}


def fill(module: nn.Module, names: Any, translate: dict[str, str], first_block: int) -> dict[str, Tensor]:
    """Write the formula's values under the public code's names, and return those that our module does not have."""
    state = dict(module.state_dict())
    left = {}
    for j, entry in enumerate(names):
        name, shape = str(entry).split()
        value = formula_values(name, tuple(int(n) for n in shape.split("x")), j).float()
        words = name.split(".")
        if words[-1] in ("gamma_", "beta_"):
            continue
        if words[0].startswith("block"):
            words[0] = f"blocks.{int(words[0].removeprefix('block')) - first_block}"
        own = ".".join(translate.get(word, word) for word in words)
        if own in state:
            state[own].copy_(value)
        else:
            left[own] = value
    return left


def test_the_generator_is_the_public_one(parity: Load) -> None:
    vectors = parity("robgan_networks")
    network = RobGANGenerator(channels=3, image_size=32, classes=10, latent_dim=8, width=4 / 64, momentum=0.9)
    left = fill(network, vectors["G_names"], {**OWN, "l1": "linear", "b6": "norm", "l6": "last"}, 2)
    assert not left
    z, y = torch.as_tensor(vectors["z"]), torch.as_tensor(vectors["y"])
    torch.testing.assert_close(network.train()(z, y), torch.as_tensor(vectors["G_train"]), rtol=1e-4, atol=1e-5)
    mean = network.blocks[0].norm1.norm.running_mean  # type: ignore[union-attr]
    torch.testing.assert_close(mean, torch.as_tensor(vectors["G_first_avg_mean_after1"]), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(network.eval()(z, y), torch.as_tensor(vectors["G_eval_after_train1"]), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("norm", [True, False])
def test_the_discriminator_is_the_public_one(parity: Load, norm: bool) -> None:
    vectors = parity("robgan_networks")
    cls = RobGANDiscriminator if norm else PlainDiscriminator
    network = cls(channels=3, image_size=32, width=8 / 64)
    left = fill(network, vectors["D_names" if norm else "Dnobn_names"], OWN, 1)
    assert left.keys() == {"l5.weight", "l5.bias", "l_y.weight", "l_y.bias"}
    x = grid_img(4, 3, 32, 32)
    for mode in ("eval", "train") if norm else ("",):
        network.train(mode == "train")
        features = network(x)
        prefix = f"D_{mode}" if norm else "Dnobn"
        logit = features @ left["l5.weight"].T + left["l5.bias"]
        classes = features @ left["l_y.weight"].T + left["l_y.bias"]
        torch.testing.assert_close(logit[:, 0], torch.as_tensor(vectors[f"{prefix}_bin"]), rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(classes, torch.as_tensor(vectors[f"{prefix}_cls"]), rtol=1e-4, atol=1e-4)


def test_conditional_norm_is_the_public_one(parity: Load) -> None:
    vectors = parity("robgan_networks")
    norm = ConditionalNorm(6, 10, 0.9)
    norm.gain.weight.data.copy_(torch.as_tensor(vectors["cbn_gammas"]))
    norm.bias.weight.data.copy_(torch.as_tensor(vectors["cbn_betas"]))
    x, y = torch.as_tensor(vectors["cbn_x"]), torch.as_tensor(vectors["y"])
    torch.testing.assert_close(norm(x, y), torch.as_tensor(vectors["cbn_train"]), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(norm.norm.running_mean, torch.as_tensor(vectors["cbn_avg_mean1"]), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(norm.norm.running_var, torch.as_tensor(vectors["cbn_avg_var1"]), rtol=1e-4, atol=1e-5)
    norm(x, y)  # the vectors' evaluation comes after a second pass
    torch.testing.assert_close(norm.eval()(x, y), torch.as_tensor(vectors["cbn_eval"]), rtol=1e-4, atol=1e-5)


def test_sizes_are_the_public_ones(parity: Load) -> None:
    vectors = parity("robgan_networks")
    generator = RobGANGenerator(channels=3, image_size=32, classes=10, latent_dim=128)
    discriminator = RobGANDiscriminator(channels=3, image_size=32)
    heads = discriminator.features * 11 + 11
    assert sum(p.numel() for p in generator.parameters()) == vectors["G64_params"]
    assert sum(p.numel() for p in discriminator.parameters()) + heads == vectors["D64_params"]


@pytest.mark.parametrize("size", [8, 16, 32, 64, 128])
def test_every_size_makes_and_sees_its_images(size: int) -> None:
    generator = RobGANGenerator(channels=2, image_size=size, classes=3, latent_dim=5, width=1 / 32)
    images = generator(torch.randn(2, 5), torch.tensor([0, 2]))
    assert images.shape == (2, 2, size, size)
    for cls in (RobGANDiscriminator, PlainDiscriminator):
        network = cls(channels=2, image_size=size, width=1 / 32)
        assert network(images).shape == (2, network.features)


def test_at_128_px_the_smaller_networks_are_those_of_imagenet_143() -> None:
    sizes = {}
    for large in (False, True):
        generator = RobGANGenerator(channels=3, image_size=128, classes=143, latent_dim=128, large=large)
        trunk = PlainDiscriminator(channels=3, image_size=128, large=large)
        sizes[large] = [sum(p.numel() for p in network.parameters()) for network in (generator, trunk)]
    # 10.6 and 10.8 million, against 33.6 and 38.4 for all of ImageNet.
    assert sizes == {False: [10_606_339, 10_819_456], True: [33_550_339, 38_410_112]}


@pytest.mark.parametrize(("cls", "size"), [(RobGANDiscriminator, 8), (VGG16Discriminator, 32)])
def test_frozen_batch_norm_keeps_its_statistics_in_training(cls: Callable[..., Any], size: int) -> None:
    torch.manual_seed(0)
    images = torch.randn(6, 2, size, size)
    frozen, free = (cls(channels=2, image_size=size, width=1 / 32, frozen_norm=is_frozen) for is_frozen in (True, False))
    for network in (frozen, free):
        network.load_state_dict(free.state_dict())
        network.train()
    before = {name: value.clone() for name, value in frozen.named_buffers()}
    together, apart = frozen(images), torch.cat([frozen(image[None]) for image in images])
    torch.testing.assert_close(together, apart)  # no image's features depend on the others
    assert all(torch.equal(value, before[name]) for name, value in frozen.named_buffers())
    together.sum().backward()
    norm = next(layer for layer in frozen.modules() if isinstance(layer, nn.BatchNorm2d))
    assert norm.weight.grad is not None
    assert norm.weight.grad.abs().sum() > 0  # its gain is trained all the same
    free(images)
    assert any(not torch.equal(value, before[name]) for name, value in free.named_buffers())


@pytest.mark.parametrize("name", FINE_TUNING)
def test_fine_tuning_trains_no_batch_norm(name: str) -> None:
    planned = read(name, registry()).entries["networks", "discriminator"]
    network = registry().load(planned.declared)(channels=3, image_size=64 if "64" in name else 32, **planned.settings).train()
    assert not [layer for layer in network.modules() if isinstance(layer, nn.BatchNorm2d) and layer.training]


def test_preact_resnet18_is_the_sum_of_its_blocks() -> None:
    torch.manual_seed(0)
    network = PreActResNet18(channels=3, image_size=8, width=1 / 16)
    x = torch.randn(2, 3, 8, 8)
    maps = nn.functional.conv2d(x, network.first.weight, padding=1)
    for number, block in enumerate(network.blocks):
        weights = dict(block.named_parameters())
        stride = 2 if number in (2, 4, 6) else 1
        # Written otherwise than the network: maximum of x and 0.2 x for LeakyReLU.
        active = torch.maximum(maps, 0.2 * maps)
        inner = nn.functional.conv2d(active, weights["convolution1.weight"], stride=stride, padding=1)
        residual = nn.functional.conv2d(torch.maximum(inner, 0.2 * inner), weights["convolution2.weight"], padding=1)
        shortcut = weights.get("shortcut.weight")
        maps = residual + (maps if shortcut is None else nn.functional.conv2d(active, shortcut, stride=stride))
    assert maps.shape == (2, 32, 1, 1)
    torch.testing.assert_close(network(x), maps.mean((2, 3)))


def test_classifiers_for_cifar_have_their_published_sizes() -> None:
    preact, vgg = (cls(channels=3, image_size=32) for cls in (PreActResNet18, VGG16Discriminator))
    sizes = [sum(p.numel() for p in network.parameters()) for network in (preact, vgg)]
    # torchvision's ResNet-18 and VGG-16 with batch norm have these convolutions, with other first layers and heads.
    assert sizes == [11_159_232, 14_723_136]
    assert preact.features == vgg.features == 512


@pytest.mark.parametrize(("cls", "size", "text"), [(PreActResNet18, 12, "3 times"), (VGG16Discriminator, 48, "5 times")])
def test_classifiers_refuse_images_that_they_cannot_halve(cls: Callable[..., Any], size: int, text: str) -> None:
    with pytest.raises(GancoreError, match=text):
        cls(channels=3, image_size=size)


def test_other_sizes_and_missing_labels_are_refused() -> None:
    with pytest.raises(GancoreError, match="not 48"):
        PlainDiscriminator(channels=3, image_size=48)
    generator = RobGANGenerator(channels=1, image_size=8, classes=2, latent_dim=4, width=0.05)
    with pytest.raises(GancoreError, match="needs labels"):
        generator(torch.randn(1, 4))

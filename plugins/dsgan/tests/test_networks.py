"""DSGAN's networks: layer by layer the paper's tables, by shapes, sizes, statistics of the noise and weight norm."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from gancore_dsgan.networks import (
    ConvClassifier,
    ConvGenerator,
    FeatureCritic,
    MnistClassifier,
    MnistGenerator,
    PlainClassifier,
)
from torch import Tensor, nn
from torch.nn.utils import parametrize

import gancore
from gancore import GancoreError

GENERATORS: dict[str, Callable[[], gancore.Generator]] = {
    "mnist": lambda: MnistGenerator(channels=2, image_size=8, latent_dim=5, hidden=16),
    "conv-8": lambda: ConvGenerator(channels=2, image_size=8, latent_dim=5, width=1 / 32),
    "conv-24": lambda: ConvGenerator(channels=2, image_size=24, latent_dim=5, width=1 / 32),
    "conv-32": lambda: ConvGenerator(channels=2, image_size=32, latent_dim=5, width=1 / 32),
}
CLASSIFIERS: dict[str, Callable[[], gancore.Classifier]] = {
    "mnist": lambda: MnistClassifier(channels=2, image_size=12, classes=3, width=0.1),
    "cifar": lambda: ConvClassifier(channels=2, image_size=12, classes=3, maps=4),
    "svhn": lambda: ConvClassifier(channels=2, image_size=12, classes=3, maps=4, input_dropout=0.15, channelwise=True),
    "plain": lambda: PlainClassifier(channels=2, classes=3, maps=4),
}
FEATURES = {"mnist": 25, "cifar": 8, "svhn": 8, "plain": 8}


def size(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def normed(inputs: int, outputs: int, kernel: int = 1) -> int:
    """Return the parameters of a layer with weight norm: weights, and a gain and a bias for each output."""
    return inputs * outputs * kernel**2 + 2 * outputs


def weight_normed(network: nn.Module) -> dict[str, nn.Module]:
    return {name: layer for name, layer in network.named_modules() if parametrize.is_parametrized(layer)}


def inputs_of(network: nn.Module, kind: type[nn.Module]) -> list[Tensor]:
    """Return a list to which every layer of a kind adds its input, in the order of the calls."""
    seen: list[Tensor] = []
    for layer in network.modules():
        if isinstance(layer, kind):
            layer.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].detach()))
    return seen


@pytest.mark.parametrize("name", GENERATORS)
def test_generators_make_images_in_range(name: str) -> None:
    torch.manual_seed(0)
    generator = GENERATORS[name]()
    side = 8 if name == "mnist" else int(name.removeprefix("conv-"))
    z = torch.rand(16, 5)
    images = generator(z)
    assert images.shape == (16, 2, side, side)
    assert -1 <= images.min() < 0 < images.max() <= 1
    generator.eval()
    assert torch.equal(generator(z), generator(z, torch.arange(16)))
    images.square().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in generator.parameters())


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_classifiers_embed_and_classify(name: str) -> None:
    torch.manual_seed(0)
    classifier = CLASSIFIERS[name]()
    x, label = torch.rand(6, 2, 12, 12) * 2 - 1, torch.tensor([0, 1, 2, 0, 1, 2])
    nn.functional.cross_entropy(classifier(x), label).backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in classifier.parameters() if p.requires_grad)
    classifier.eval()
    features = classifier.embed(x)
    assert features.shape == (6, classifier.features) == (6, FEATURES[name])
    logits = classifier.classify(features)
    assert logits.shape == (6, classifier.classes) == (6, 3)
    assert torch.equal(classifier(x), logits)


def test_critic_sees_features_and_images() -> None:
    critic = FeatureCritic(channels=250, image_size=1)
    assert critic.features == 100
    assert critic(torch.randn(7, 250, 1, 1)).shape == (7, 100)
    assert FeatureCritic(channels=2, image_size=3, width=0.1)(torch.randn(7, 2, 3, 3)).shape == (7, 10)
    assert len(critic.hidden_layers()) == 3
    assert not weight_normed(critic)


def test_sizes_are_those_of_the_tables() -> None:
    generator = MnistGenerator(channels=1, image_size=28, latent_dim=100)
    assert size(generator) == 100 * 500 + 2 * 500 + 500 * 500 + 2 * 500 + normed(500, 784)
    classifier = MnistClassifier(channels=1, image_size=28, classes=10)
    layers = [(784, 1000), (1000, 500), (500, 250), (250, 250), (250, 250), (250, 10)]
    assert size(classifier) == sum(normed(a, b) for a, b in layers) == 1_541_020
    critic = FeatureCritic(channels=250, image_size=1)
    assert size(critic) == 250 * 400 + 400 + 400 * 200 + 200 + 200 * 100 + 100
    convolutional = ConvGenerator(channels=3, image_size=32, latent_dim=100)
    first = 100 * 8192 + 2 * 8192
    assert size(convolutional) == first + 25 * 512 * 256 + 2 * 256 + 25 * 256 * 128 + 2 * 128 + normed(128, 3, 5)


@pytest.mark.parametrize(("maps", "wide"), [(96, 192), (64, 128)], ids=["CIFAR-10", "SVHN"])
def test_size_of_the_convolutional_classifier_is_the_tables(maps: int, wide: int) -> None:
    classifier = ConvClassifier(channels=3, image_size=32, classes=10, maps=maps)
    first = normed(3, maps, 3) + 2 * normed(maps, maps, 3)
    second = normed(maps, wide, 3) + 2 * normed(wide, wide, 3)
    third = normed(wide, wide, 3) + 2 * normed(wide, wide)
    assert size(classifier) == first + second + third + normed(wide, 10)
    assert classifier.features == wide


def test_size_of_the_plain_classifier_is_the_tables() -> None:
    classifier = PlainClassifier(channels=3, classes=10)
    below = normed(3, 96, 3) + normed(96, 96, 3) + normed(96, 192, 3) + 2 * normed(192, 192, 3) + normed(192, 192)
    assert size(classifier) == below + 3 * normed(192, 192) + normed(192, 10)
    assert classifier.features == 192


def test_width_scales_down_to_eight() -> None:
    classifier = MnistClassifier(channels=1, image_size=4, classes=2, width=0.02)
    widths = [layer.out_features for layer in classifier.modules() if isinstance(layer, nn.Linear)]
    assert widths == [20, 10, 8, 8, 8, 2]
    assert FeatureCritic(channels=3, image_size=1, width=0.01).features == 8


@pytest.mark.parametrize("network", [*GENERATORS.items(), *CLASSIFIERS.items()], ids=lambda item: item[0])
def test_weight_norm_has_one_gain_per_output(network: tuple[str, Callable[[], nn.Module]]) -> None:
    torch.manual_seed(0)
    layers = weight_normed(network[1]())
    assert layers
    for layer in layers.values():
        gain, direction = (layer.get_parameter(f"parametrizations.weight.original{k}") for k in (0, 1))
        outputs = 1 if isinstance(layer, nn.ConvTranspose2d) else 0
        others = [k for k in range(direction.ndim) if k != outputs]
        assert gain.numel() == direction.shape[outputs]
        norm = direction.square().sum(others, keepdim=True).sqrt()
        if isinstance(layer, nn.Linear) and network[1] is GENERATORS["mnist"]:
            torch.testing.assert_close(gain, norm)
        with torch.no_grad():
            gain.copy_(torch.rand_like(gain) + 0.5)
        torch.testing.assert_close(layer.weight, gain * direction / norm)
        assert isinstance(layer.bias, Tensor)
        assert not layer.bias.any()


def test_what_has_weight_norm() -> None:
    counts = {name: len(weight_normed(make())) for name, make in {**CLASSIFIERS, **GENERATORS}.items()}
    # "mnist" is the generator here, which is the later one of that name.
    assert counts == {"mnist": 1, "cifar": 10, "svhn": 10, "plain": 10, "conv-8": 1, "conv-24": 1, "conv-32": 1}
    assert len(weight_normed(CLASSIFIERS["mnist"]())) == 6


def test_weights_start_with_the_deviations_of_the_public_code() -> None:
    torch.manual_seed(0)
    for network, std in (
        (MnistGenerator(channels=1, image_size=28, latent_dim=100), 0.1),
        (MnistClassifier(channels=1, image_size=28, classes=10), 0.1),
        (ConvClassifier(channels=3, image_size=32, classes=10), 0.05),
    ):
        drawn = "parametrizations.weight.original1"
        weights = torch.cat([layer.get_parameter(drawn).flatten() for layer in weight_normed(network).values()])  # type: ignore[operator]
        assert weights.std().item() == pytest.approx(std, rel=0.01)
        assert abs(weights.mean().item()) < 0.01 * std


@pytest.mark.parametrize("maps", [8, 96])
def test_the_signal_keeps_its_size_at_any_width(maps: int) -> None:
    torch.manual_seed(0)
    for network in (
        ConvClassifier(channels=3, image_size=32, classes=10, maps=maps),
        PlainClassifier(channels=3, classes=10, maps=maps),
    ):
        network.eval()
        sizes: list[float] = []
        for layer in network.modules():
            if isinstance(layer, nn.LeakyReLU):
                layer.register_forward_hook(
                    lambda _, __, output, sizes=sizes: sizes.append(output.square().mean().sqrt().item())
                )
        network(torch.randn(16, 3, 32, 32))
        assert all(0.3 < size / sizes[0] < 3 for size in sizes)


def test_conv_generator_starts_near_gray() -> None:
    torch.manual_seed(0)
    images = ConvGenerator(channels=3, image_size=32, latent_dim=100, width=0.5)(torch.rand(64, 100))
    assert images.square().mean().sqrt().item() == pytest.approx(0.1, rel=0.2)


def test_sigmoid_is_stretched_to_the_range_of_images() -> None:
    generator = MnistGenerator(channels=1, image_size=8, latent_dim=5, hidden=16)
    outputs: list[Tensor] = []
    generator.layers[-1].register_forward_hook(lambda _, __, output: outputs.append(output.detach()))
    images = generator(torch.rand(9, 5))
    torch.testing.assert_close((images.flatten(1) + 1) / 2, outputs[0].sigmoid())
    torch.testing.assert_close(images.flatten(1), (outputs[0] / 2).tanh())


@pytest.mark.parametrize("make", [GENERATORS["mnist"], GENERATORS["conv-32"]], ids=["mnist", "conv"])
def test_any_uniform_latents_do(make: Callable[[], gancore.Generator]) -> None:
    torch.manual_seed(0)
    generator = make().double()
    for layer in generator.modules():
        if isinstance(layer, nn.BatchNorm1d):
            layer.eps = 1e-12
    z = torch.rand(32, 5, dtype=torch.float64)
    torch.testing.assert_close(generator(z), generator(2 * z - 1))


def test_noise_of_the_mnist_classifier_is_on_the_papers_scale() -> None:
    torch.manual_seed(0)
    classifier = MnistClassifier(channels=1, image_size=28, classes=10)
    seen = inputs_of(classifier, nn.Linear)
    x = torch.rand(64, 1, 28, 28) * 2 - 1
    classifier(x)
    clean = (x.flatten(1) + 1) / 2
    assert len(seen) == 6
    noise = seen[0] - clean
    assert noise.std().item() == pytest.approx(0.3, rel=0.02)
    assert abs(noise.mean().item()) < 0.01
    linears = [layer for layer in classifier.modules() if isinstance(layer, nn.Linear)]
    for before, after, layer in zip(seen, seen[1:], linears, strict=False):
        noise = after - layer(before).relu()
        assert noise.std().item() == pytest.approx(0.5, rel=0.03)
        assert abs(noise.mean().item()) < 0.02
    seen.clear()
    classifier.eval()(x)
    torch.testing.assert_close(seen[0], clean, rtol=0, atol=0)


def test_features_of_the_mnist_classifier_have_no_noise_of_their_own() -> None:
    torch.manual_seed(0)
    classifier = MnistClassifier(channels=1, image_size=8, classes=3, width=0.1)
    seen = inputs_of(classifier, nn.Linear)
    features = classifier.embed(torch.rand(50, 1, 8, 8))
    assert features.min() == 0
    classifier.classify(features)
    assert (seen[-1] - features).std().item() == pytest.approx(0.5, rel=0.1)


def test_noise_of_the_convolutional_classifier() -> None:
    torch.manual_seed(0)
    classifier = ConvClassifier(channels=3, image_size=32, classes=10, maps=4, input_dropout=0.0)
    seen = inputs_of(classifier, nn.Conv2d)
    x = torch.rand(64, 3, 32, 32) * 2 - 1
    classifier(x)
    assert (seen[0] - x).std().item() == pytest.approx(0.05, rel=0.02)


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_chance_is_in_training_alone_and_from_the_global_generator(name: str) -> None:
    torch.manual_seed(0)
    classifier = CLASSIFIERS[name]()
    x = torch.rand(6, 2, 12, 12) * 2 - 1
    assert torch.equal(classifier(x), classifier(x)) == (name == "plain")
    torch.manual_seed(1)
    first = classifier(x)
    torch.manual_seed(1)
    assert torch.equal(classifier(x), first)
    classifier.eval()
    assert torch.equal(classifier(x), classifier(x))


def test_without_noise_training_is_evaluation() -> None:
    x = torch.rand(6, 2, 12, 12) * 2 - 1
    for classifier in (
        MnistClassifier(channels=2, image_size=12, classes=3, width=0.1, input_noise=0.0, noise=0.0),
        ConvClassifier(channels=2, image_size=12, classes=3, maps=4, input_noise=0.0, input_dropout=0.0, dropout=0.0),
    ):
        assert torch.equal(classifier.train()(x), classifier.eval()(x))


@pytest.mark.parametrize("channelwise", [False, True])
def test_dropout_is_of_maps_or_of_values(channelwise: bool) -> None:
    torch.manual_seed(0)
    classifier = ConvClassifier(channels=3, image_size=32, classes=10, maps=16, channelwise=channelwise)
    seen = inputs_of(classifier, nn.Conv2d)
    classifier(torch.rand(64, 3, 32, 32) * 2 - 1)
    # Channels of the images are dropped whole, in either case.
    dropped = (seen[0] == 0).float().mean((2, 3))
    assert set(dropped.unique().tolist()) == {0.0, 1.0}
    assert dropped.mean().item() == pytest.approx(0.2, abs=0.1)
    for first, side in ((3, 16), (6, 8)):
        assert seen[first].shape[2:] == (side, side)
        dropped = (seen[first] == 0).float().mean((2, 3))
        assert dropped.mean().item() == pytest.approx(0.5, abs=0.06)
        assert bool(((dropped == 0) | (dropped == 1)).all()) == channelwise


def test_the_third_block_starts_without_padding() -> None:
    classifier = ConvClassifier(channels=3, image_size=32, classes=10, maps=4).eval()
    seen = inputs_of(classifier, nn.Conv2d)
    classifier(torch.rand(2, 3, 32, 32))
    assert [x.shape[-1] for x in seen] == [32, 32, 32, 16, 16, 16, 8, 6, 6]
    assert [x.shape[1] for x in seen] == [3, 4, 4, 4, 8, 8, 8, 8, 8]


def test_plain_classifier_halves_its_images_and_is_not_linear_above_its_features() -> None:
    torch.manual_seed(0)
    classifier = PlainClassifier(channels=3, classes=10, maps=4)
    seen = inputs_of(classifier, nn.Conv2d)
    x = torch.rand(2, 3, 32, 32) * 2 - 1
    classifier.embed(x)
    assert torch.equal(seen[0], x / 2)
    assert [x.shape[-1] for x in seen] == [32, 32, 16, 16, 8, 8]
    linears = [layer for layer in classifier.modules() if isinstance(layer, nn.Linear)]
    expected = features = 10 * torch.randn(5, 8)
    for linear in linears[:3]:
        expected = linear(expected)
        expected = torch.where(expected > 0, expected, 0.2 * expected)
    torch.testing.assert_close(classifier.classify(features), linears[3](expected))


def test_convolutions_leak_as_in_the_tables() -> None:
    for name, number in (("cifar", 9), ("plain", 6)):
        slopes = [layer.negative_slope for layer in CLASSIFIERS[name]().modules() if isinstance(layer, nn.LeakyReLU)]
        assert slopes == [0.2] * number


def test_plain_classifier_has_the_tables_dropout_where_asked() -> None:
    torch.manual_seed(0)
    classifier = PlainClassifier(channels=3, classes=10, maps=16, dropout=0.5)
    seen = inputs_of(classifier, nn.Conv2d)
    classifier(torch.rand(16, 3, 16, 16))
    shares = [(x == 0).float().mean().item() for x in seen]
    assert shares == pytest.approx([0, 0, 0.5, 0, 0.5, 0], abs=0.05)


@pytest.mark.parametrize("wrong", [4, 12, 28])
def test_conv_generator_refuses_other_sizes(wrong: int) -> None:
    with pytest.raises(GancoreError, match=rf"^[^.]*multiple of 8, not {wrong}\.$"):
        ConvGenerator(channels=3, image_size=wrong, latent_dim=4)


def test_conv_classifier_refuses_small_images() -> None:
    with pytest.raises(GancoreError, match=r"^[^.]*at least 9 px, not 8\.$"):
        ConvClassifier(channels=3, image_size=8, classes=10)
    assert ConvClassifier(channels=3, image_size=9, classes=10, maps=2)(torch.rand(2, 3, 9, 9)).shape == (2, 10)


def test_gains_between_noise_are_not_trained() -> None:
    for classifier, trained in (
        (MnistClassifier(channels=1, image_size=28, classes=10), 1),
        (ConvClassifier(channels=3, image_size=32, classes=10), 1),
        (PlainClassifier(channels=3, classes=10), 10),
    ):
        gains = [parameter for name, parameter in classifier.named_parameters() if name.endswith("original0")]
        assert sum(gain.requires_grad for gain in gains) == trained
        assert classifier.state_dict().keys() >= {name for name, _ in classifier.named_parameters()}

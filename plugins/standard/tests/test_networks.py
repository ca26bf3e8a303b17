"""Networks against the originals' numbers, and what every network must keep."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import pytest
import torch
from gancore_standard.heads import AuxiliaryClassifier, Linear, Projection
from gancore_standard.networks import cifar_resnet, dcgan, mlp, resnet_gan, small_cnn, sndcgan
from gancore_standard.networks.layers import ConditionalBatchNorm2d, spectral
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import parametrize

from gancore import Classifier, Discriminator, GancoreError, Generator
from tests.formulas import fill_formula, formula_values, grid_img, hash_uniform

Parity = Callable[[str], dict[str, Any]]
CLOSE = {"rtol": 1e-4, "atol": 1e-5}


def fill(names: Iterable[Any], places: dict[str, nn.Module], gain: float = 1.0) -> None:
    """Write the formula's weights for a foreign state dict into our modules, by the foreign module's name.

    `names` are ``"<module>.<what> <shape>"`` in the foreign order; `places` maps the foreign module to ours.
    """
    for j, text in enumerate(map(str, names)):
        name, shape = text.split(" ")
        module, what = name.rsplit(".", 1)
        value = formula_values(name.removesuffix("_orig"), tuple(map(int, shape.split("x"))), j, gain)
        ours = places[module]
        target = ours.parametrizations.weight.original if what == "weight_orig" else getattr(ours, what)  # type: ignore[union-attr, index]
        with torch.no_grad():
            target.copy_(value)


def start_power_iteration(modules: Iterable[nn.Module]) -> None:
    """Set every u as the formula does: hash_uniform(numel, 1000), normalized."""
    for module in modules:
        for child in module.modules():
            if hasattr(child, "power_u"):
                u = torch.from_numpy(hash_uniform(child.power_u.numel(), 1000))
                child.power_u.copy_(u / u.norm())


def sndcgan_places(d: sndcgan.SNDCGANDiscriminator) -> dict[str, nn.Module]:
    convolutions = [layer for layer in d.layers if isinstance(layer, nn.Conv2d)]
    names = [f"blocks.{block}.0.conv{k}" for block in range(3) for k in range(2)]
    return dict(zip([*names, "conv"], convolutions, strict=True))


def generator_places(g: sndcgan.SNDCGANGenerator) -> dict[str, nn.Module]:
    places: dict[str, nn.Module] = {"linear0": g.linear, "conv4": g.last}
    for k, (convolution, norm) in enumerate(zip(g.convolutions, g.norms, strict=True)):
        places |= {f"blocks.{k}.0.deconv0": convolution, f"blocks.{k}.0.bn0": norm.norm}  # type: ignore[dict-item]
    return places


def parameters(*modules: nn.Module) -> int:
    return sum(p.numel() for module in modules for p in module.parameters())


def test_the_sndcgan_generator_is_the_originals(parity: Parity) -> None:
    vectors = parity("cbgan_networks")
    g = sndcgan.SNDCGANGenerator(channels=3, image_size=32, classes=10, latent_dim=128)
    assert parameters(g) == int(vectors["G_param_count"])
    z = torch.from_numpy(vectors["z"])
    for mode in ("eval", "train"):
        fill(vectors["G_names"], generator_places(g))
        torch.testing.assert_close(g.train(mode == "train")(z), torch.from_numpy(vectors[f"G_{mode}"]), **CLOSE)


@pytest.mark.parametrize("kind", ["no", "cGAN", "ACGAN"])
def test_the_sndcgan_discriminator_is_the_originals_over_two_power_iterations(parity: Parity, kind: str) -> None:
    vectors = parity("cbgan_networks")
    d = sndcgan.SNDCGANDiscriminator(channels=3, image_size=32)
    y = torch.from_numpy(vectors["y"])
    head: nn.Module = Linear(features=512, spectral_norm=True)
    places = {**sndcgan_places(d), "linear1": head.linear}
    if kind == "cGAN":
        head = Projection(features=512, classes=10, spectral_norm=True)
        places |= {"linear1": head.linear, "embedding": head.embedding}
    classes = AuxiliaryClassifier(features=512, classes=10, spectral_norm=True)
    places["linear4"] = classes.linear
    fill(vectors[f"D_{kind}_names"], places)
    start_power_iteration([d, head, classes])
    if kind == "no":
        assert parameters(d, head) == int(vectors["D_no_param_count"])
    x = grid_img(4, 3, 32, 32)
    for number in (1, 2):
        features = d(x)
        adversarial = vectors[f"D_{kind}_train_fwd{number}_{1 if kind == 'ACGAN' else 0}"]
        torch.testing.assert_close(head(features, y), torch.from_numpy(adversarial), **CLOSE)
        if kind == "ACGAN":
            logits = torch.from_numpy(vectors[f"D_ACGAN_train_fwd{number}_0"])
            torch.testing.assert_close(classes(features, y), logits, **CLOSE)
    u = places["conv"].parametrizations.weight[0].power_u  # type: ignore[union-attr, index]
    torch.testing.assert_close(u, torch.from_numpy(vectors[f"D_{kind}_u_conv_after2"]), **CLOSE)


def resnet_generator_places(g: resnet_gan.ResNetGenerator, norm: str, last: str) -> dict[str, nn.Module]:
    places: dict[str, nn.Module] = {"linear0": g.linear, norm: g.norm, last: g.last}
    for k, block in enumerate(g.blocks):
        names = {"bn1": block.norm1.norm, "bn2": block.norm2.norm, "conv2d0": block.shortcut}  # type: ignore[union-attr]
        names |= {"conv2d1": block.convolution1, "conv2d2": block.convolution2}
        places |= {f"blocks.{k}.0.{name}": module for name, module in names.items()}  # type: ignore[misc]
    return places


def test_the_last_block_halves_where_it_shall() -> None:
    images = torch.zeros(2, 3, 64, 64)
    for halve_last, size in ((False, 4), (True, 2)):
        network = resnet_gan.ResNetDiscriminator(channels=3, image_size=64, width=1 / 64, halve_last=halve_last)
        assert network.blocks(images).shape == (2, 16, size, size)


def test_the_narrow_networks_are_those_of_143_classes_at_128_pixels() -> None:
    g = resnet_gan.ResNetGenerator(channels=3, image_size=128, classes=143, latent_dim=128, conditional=True, narrow=True)
    assert parameters(g) == 10_606_339
    d = resnet_gan.ResNetDiscriminator(channels=3, image_size=128, narrow=True)
    # RobGAN's has the same weights, and no biases.
    assert parameters(d) == 10_819_456 + sum(p.numel() for p in d.parameters() if p.ndim == 1)
    # Five of the six blocks halve.
    small = resnet_gan.ResNetDiscriminator(channels=3, image_size=128, width=1 / 64, narrow=True)
    assert small.blocks(torch.zeros(2, 3, 128, 128)).shape == (2, 8, 4, 4)
    with pytest.raises(GancoreError, match="of images of 128 px, not 64"):
        resnet_gan.ResNetDiscriminator(channels=3, image_size=64, narrow=True)
    with pytest.raises(GancoreError, match="of images of 128 px, not 256"):
        resnet_gan.ResNetGenerator(channels=3, image_size=256, classes=10, latent_dim=8, narrow=True)


@pytest.mark.parametrize("size", [32, 64])
def test_the_resnet_gan_is_the_originals(parity: Parity, size: int) -> None:
    vectors = parity("cbgan_networks")
    g = resnet_gan.ResNetGenerator(channels=3, image_size=size, classes=10, latent_dim=128).eval()
    assert parameters(g) == int(vectors[f"resG{size}_params"])
    names = [str(name) for name in vectors[f"resG{size}_names"]]
    norm, last = (names[-k].split(".weight")[0].split(".running")[0].split(".")[0] for k in (3, 2))
    fill(names, resnet_generator_places(g, norm, last))
    z = torch.from_numpy(vectors["z"])[:2]
    torch.testing.assert_close(g(z), torch.from_numpy(vectors[f"resG{size}_eval"]), rtol=1e-4, atol=1e-4)

    d = resnet_gan.ResNetDiscriminator(channels=3, image_size=size)
    head = Linear(features=d.features, spectral_norm=True)
    assert parameters(d, head) == int(vectors[f"resD{size}_params"])
    places: dict[str, nn.Module] = {"linear1": head.linear}
    for k, block in enumerate(d.blocks):
        names_ = {"conv2d0": block.shortcut, "conv2d1": block.convolution1, "conv2d2": block.convolution2}
        places |= {f"blocks.{k}.0.{name}": module for name, module in names_.items() if module is not None}  # type: ignore[misc]
    fill(vectors[f"resD{size}_names"], places)
    start_power_iteration([d, head])
    y = torch.zeros(2, dtype=torch.int64)
    expected = torch.from_numpy(vectors[f"resD{size}_train_fwd1"])
    torch.testing.assert_close(head(d(grid_img(2, 3, size, size)), y), expected, rtol=1e-3, atol=1e-4)


def test_conditional_batch_norm_is_the_originals(parity: Parity) -> None:
    vectors = parity("cbgan_networks")
    norm = ConditionalBatchNorm2d(6, 10)
    with torch.no_grad():
        norm.gain.weight.copy_(torch.from_numpy(vectors["cbn_embed0"]))
        norm.bias.weight.copy_(torch.from_numpy(vectors["cbn_embed1"]))
        norm.norm.running_mean.copy_(formula_values("running_mean", (6,), 0))  # type: ignore[union-attr]
        norm.norm.running_var.copy_(formula_values("running_var", (6,), 1))  # type: ignore[union-attr]
    x, y = torch.from_numpy(vectors["cbn_x"]), torch.from_numpy(vectors["y"])
    torch.testing.assert_close(norm(x, y), torch.from_numpy(vectors["cbn_out_train"]), **CLOSE)
    torch.testing.assert_close(norm.norm.running_mean, torch.from_numpy(vectors["cbn_rm"]), **CLOSE)
    torch.testing.assert_close(norm.norm.running_var, torch.from_numpy(vectors["cbn_rv"]), **CLOSE)
    torch.testing.assert_close(norm.eval()(x, y), torch.from_numpy(vectors["cbn_out_eval"]), **CLOSE)


def test_resnet32_is_the_originals(parity: Parity) -> None:
    vectors = parity("resnet32")
    network = cifar_resnet.ResNet32(channels=3, classes=10)
    assert parameters(network) == int(vectors["aka_params"]) == 464_154
    ours = [name for name in network.state_dict() if not name.endswith("num_batches_tracked")]
    assert ours == [str(name).split(" ")[0] for name in vectors["aka_names"]]
    x = grid_img(4, 3, 32, 32)
    fill_formula(network, gain=0.5)
    torch.testing.assert_close(network.eval()(x), torch.from_numpy(vectors["aka_eval_logits"]), **CLOSE)
    torch.testing.assert_close(network.train()(x), torch.from_numpy(vectors["aka_train_logits"]), **CLOSE)
    normed = cifar_resnet.ResNet32(channels=3, classes=10, normalized_head=True).eval()
    fill_formula(normed, gain=0.5)
    torch.testing.assert_close(normed(x), torch.from_numpy(vectors["ldam_usenorm_eval_logits"]), **CLOSE)
    hundred = cifar_resnet.ResNet32(channels=3, classes=100).eval()
    fill_formula(hundred, gain=0.5)
    torch.testing.assert_close(hundred(x), torch.from_numpy(vectors["ldam100_eval_logits"]), **CLOSE)


def test_spectral_norm_is_the_originals_over_six_power_iterations(parity: Parity) -> None:
    vectors = parity("sn_projection")
    weight = torch.from_numpy(vectors["W"])
    layer = spectral(nn.Conv2d(3, 5, 3, bias=False).double(), eps=1e-12)
    with torch.no_grad():
        layer.parametrizations.weight.original.copy_(weight)  # type: ignore[union-attr, index]
    norm = layer.parametrizations.weight[0].double()  # type: ignore[union-attr, index]
    norm.power_u.copy_(torch.from_numpy(vectors["u0"]).flatten())
    x = torch.from_numpy(vectors["x27"])
    for k in range(6):
        normalized = layer.weight
        if k == 0:
            original = layer.parametrizations.weight.original  # type: ignore[union-attr, index]
            (grad,) = torch.autograd.grad((normalized.flatten(1) @ x).sum(), original)
            expected = torch.from_numpy(vectors["grad_W_of_sum_Wsn_x_iter1"])
            torch.testing.assert_close(grad.flatten(1), expected, rtol=1e-9, atol=1e-12)
        torch.testing.assert_close(norm.power_u, torch.from_numpy(vectors["u"][k]), rtol=1e-9, atol=1e-12)
        torch.testing.assert_close(norm.power_v, torch.from_numpy(vectors["v"][k]), rtol=1e-9, atol=1e-12)
        torch.testing.assert_close(normalized, weight / float(vectors["sigma"][k]), rtol=1e-9, atol=1e-12)


def test_the_projection_head_is_the_originals(parity: Parity) -> None:
    vectors = parity("sn_projection")
    head = Projection(features=6, classes=3, spectral_norm=False).double()
    with torch.no_grad():
        head.linear.weight.copy_(torch.from_numpy(vectors["proj_w"])[None])
        head.embedding.weight.copy_(torch.from_numpy(vectors["proj_embed"]))
    out = head(torch.from_numpy(vectors["proj_h"]), torch.from_numpy(vectors["proj_y"]))
    np.testing.assert_allclose(out.detach().numpy(), vectors["proj_out"], rtol=1e-9)


def test_spectral_norm_brings_the_largest_singular_value_to_one_and_stands_still_in_evaluation() -> None:
    layer = spectral(nn.Linear(20, 30))
    for _ in range(200):
        _ = layer.weight
    assert torch.linalg.matrix_norm(layer.weight, 2).item() == pytest.approx(1.0, abs=1e-3)
    u = layer.parametrizations.weight[0].power_u.clone()  # type: ignore[union-attr, index]
    layer.eval()
    _ = layer.weight
    assert torch.equal(u, layer.parametrizations.weight[0].power_u)  # type: ignore[union-attr, index]


def test_a_generator_may_have_spectral_norm_on_each_weight_that_multiplies() -> None:
    sizes = {"channels": 3, "image_size": 8, "classes": 3, "latent_dim": 4, "width": 0.05, "conditional": True}
    plain, normed = (resnet_gan.ResNetGenerator(**sizes, spectral_norm=norm) for norm in (False, True))
    assert parameters(plain) == parameters(normed)
    for _ in range(300):
        normed(torch.ones(2, 4), torch.tensor([0, 1]))
    layers = [layer for layer in normed.modules() if isinstance(layer, nn.Linear | nn.Conv2d)]
    assert len(layers) == 2 + 3
    for layer in layers:
        assert torch.linalg.matrix_norm(layer.weight.flatten(1), 2).item() == pytest.approx(1.0, abs=1e-3)


def test_a_turn_has_one_power_iteration() -> None:
    layer, other = (spectral(nn.Linear(20, 30)) for _ in range(2))
    other.load_state_dict(layer.state_dict())
    with parametrize.cached():
        for _ in range(3):
            layer(torch.ones(1, 20))
    other(torch.ones(1, 20))
    norms = [module.parametrizations.weight[0] for module in (layer, other)]  # type: ignore[union-attr, index]
    assert torch.equal(norms[0].power_u, norms[1].power_u)


def test_two_forwards_may_precede_one_backward() -> None:
    layer = spectral(nn.Linear(4, 3))
    (layer(torch.ones(1, 4)).sum() + layer(torch.ones(1, 4)).square().sum()).backward()
    assert layer.parametrizations.weight.original.grad is not None  # type: ignore[union-attr, index]


GENERATORS: dict[str, Callable[..., Generator]] = {
    "sndcgan": lambda **k: sndcgan.SNDCGANGenerator(width=0.125, **k),
    "sndcgan, conditional": lambda **k: sndcgan.SNDCGANGenerator(width=0.125, conditional=True, **k),
    "resnet": lambda **k: resnet_gan.ResNetGenerator(width=0.0625, **k),
    "resnet, conditional, relu": lambda **k: resnet_gan.ResNetGenerator(width=0.0625, conditional=True, activation="relu", **k),
    "dcgan": lambda **k: dcgan.DCGANGenerator(width=0.125, **{n: v for n, v in k.items() if n != "classes"}),
    "mlp": lambda **k: mlp.MLPGenerator(hidden=16, **{n: v for n, v in k.items() if n != "classes"}),
}
DISCRIMINATORS: dict[str, Callable[..., Discriminator]] = {
    "sndcgan": lambda **k: sndcgan.SNDCGANDiscriminator(width=0.125, **k),
    "sndcgan, no norm": lambda **k: sndcgan.SNDCGANDiscriminator(width=0.125, spectral_norm=False, **k),
    "resnet": lambda **k: resnet_gan.ResNetDiscriminator(width=0.125, **k),
    "dcgan": lambda **k: dcgan.DCGANDiscriminator(width=0.125, **k),
    "mlp": lambda **k: mlp.MLPDiscriminator(hidden=16, **k),
}
CLASSIFIERS: dict[str, Callable[..., Classifier]] = {
    "resnet20": lambda **k: cifar_resnet.ResNet20(**{n: v for n, v in k.items() if n != "image_size"}),
    "small-cnn": lambda **k: small_cnn.SmallCNN(width=0.5, **k),
    "mlp": lambda **k: mlp.MLPClassifier(hidden=16, **k),
}


@pytest.mark.parametrize("size", [8, 16, 32, 128])
@pytest.mark.parametrize("name", GENERATORS)
def test_generators_make_images_of_every_size(name: str, size: int) -> None:
    g = GENERATORS[name](channels=1, image_size=size, classes=4, latent_dim=6)
    assert g.latent_dim == 6
    images = g(torch.randn(3, 6), torch.tensor([0, 3, 1]))
    assert images.shape == (3, 1, size, size)
    assert images.abs().max() <= 1
    images.sum().backward()
    assert all(p.grad is not None for p in g.parameters())


@pytest.mark.parametrize("name", ["sndcgan, conditional", "resnet, conditional, relu"])
def test_a_conditional_generator_obeys_its_labels(name: str) -> None:
    g = GENERATORS[name](channels=1, image_size=8, classes=4, latent_dim=6).eval()
    z = torch.randn(1, 6).expand(2, 6)
    one, two = g(z, torch.tensor([0, 1]))
    assert not torch.allclose(one, two, atol=1e-4)


@pytest.mark.parametrize("number", [1, 7])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("name", DISCRIMINATORS)
def test_discriminators_give_features_at_every_batch_size_and_precision(name: str, dtype: torch.dtype, number: int) -> None:
    d = DISCRIMINATORS[name](channels=3, image_size=16).to(memory_format=torch.channels_last)
    x = torch.randn(number, 3, 16, 16).contiguous(memory_format=torch.channels_last).requires_grad_()
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=dtype == torch.bfloat16):
        features = d(x)
    assert features.shape == (number, d.features)
    features.float().sum().backward()
    assert x.grad is not None
    assert x.grad.isfinite().all()
    norms = any(isinstance(module, nn.BatchNorm2d) for module in d.modules())
    assert norms == d.batch_statistics


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_classifiers_classify_what_they_embed(name: str) -> None:
    c = CLASSIFIERS[name](channels=1, image_size=16, classes=5).eval()
    x = torch.randn(2, 1, 16, 16)
    features = c.embed(x)
    assert features.shape == (2, c.features)
    assert torch.equal(c(x), c.classify(features))
    assert c(x).shape == (2, c.classes) == (2, 5)


@pytest.mark.parametrize("name", ["sndcgan", "resnet", "dcgan"])
@pytest.mark.parametrize("size", [4, 12, 28])
def test_a_size_that_is_no_power_of_two_is_refused(name: str, size: int) -> None:
    with pytest.raises(GancoreError, match=f"power of two of pixels, at least 8, not {size}"):
        GENERATORS[name](channels=1, image_size=size, classes=4, latent_dim=6)


@pytest.mark.parametrize("name", ["sndcgan", "resnet"])
def test_orthogonal_weights_hold_under_spectral_norm(name: str) -> None:
    d = DISCRIMINATORS[name](channels=3, image_size=16)
    convolution = next(m for m in d.modules() if isinstance(m, nn.Conv2d) and m.kernel_size == (3, 3) and m.in_channels > 3)
    weight: Tensor = convolution.parametrizations.weight.original.flatten(1)  # type: ignore[union-attr, index]
    torch.testing.assert_close(weight @ weight.T, torch.eye(len(weight)), rtol=1e-4, atol=1e-4)


def test_a_depth_that_is_not_6n_plus_2_is_refused() -> None:
    with pytest.raises(ValueError, match="6n"):
        cifar_resnet.CifarResNet(channels=3, classes=10, depth=30)


@pytest.mark.parametrize("raw", [False, True])
def test_a_residual_blocks_shortcut_starts_where_it_is_asked_to(raw: bool) -> None:
    settings: dict[str, Any] = {"channels": 3, "image_size": 32, "width": 0.125, "spectral_norm": False, "activation": "relu"}
    torch.manual_seed(0)
    block = resnet_gan.ResNetDiscriminator(**settings, raw_shortcut=raw).blocks[1]
    x = torch.randn(2, 16, 8, 8)
    residual = block.convolution2(F.relu(block.convolution1(F.relu(x))))  # type: ignore[operator]
    shortcut = block.shortcut(F.avg_pool2d(x if raw else F.relu(x), 2))  # type: ignore[operator]
    torch.testing.assert_close(block(x), F.avg_pool2d(residual, 2) + shortcut)

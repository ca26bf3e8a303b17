"""The penalty, the networks and the schedules by independent computations, and the small recipe, smaller."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner, Result
from gancore_r3gan.networks import Block, InnerProduct, R3Discriminator, R3Generator, Resample
from gancore_r3gan.penalty import Penalty
from gancore_r3gan.schedules import burn_in, half_life
from torch import Tensor
from torch.nn import functional as F

from gancore import GancoreError
from gancore.cli.main import main
from gancore.tools import make_plan, read, registry


def penalty(real: Tensor, fake: Tensor, critic: torch.nn.Module) -> Tensor:
    real, fake = (x.clone().requires_grad_() for x in (real, fake))
    return Penalty().discriminator(real_view=real, real_adversarial=critic(real), fake_view=fake, fake_adversarial=critic(fake))


def test_the_penalty_of_a_linear_critic_is_the_square_of_its_slope() -> None:
    critic = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(12, 1), torch.nn.Flatten(0))
    real, fake = torch.randn(5, 3, 2, 2), torch.randn(5, 3, 2, 2)
    assert penalty(real, fake, critic).item() == pytest.approx(critic[1].weight.square().sum().item(), rel=1e-6)


def test_the_penalty_is_half_of_r1_and_half_of_r2_and_trains_the_critic() -> None:
    """The gradient of sum_j tanh(w_j x) v_j with respect to x is sum_j v_j w_j (1 - tanh^2), by hand."""
    critic = torch.nn.Sequential(
        torch.nn.Flatten(),
        torch.nn.Linear(4, 3, bias=False),
        torch.nn.Tanh(),
        torch.nn.Linear(3, 1, bias=False),
        torch.nn.Flatten(0),
    ).double()
    w, v = critic[1].weight, critic[3].weight
    real, fake = torch.randn(6, 1, 2, 2).double(), torch.randn(7, 1, 2, 2).double()

    def square(x: Tensor) -> Tensor:
        slopes = (v * (1 - torch.tanh(x.flatten(1) @ w.T).square())) @ w
        return slopes.square().sum(1).mean()

    expected = (square(real) + square(fake)) / 2
    loss = penalty(real, fake, critic)
    torch.testing.assert_close(loss, expected.to(loss.dtype), rtol=1e-5, atol=0)
    for one, two in zip(torch.autograd.grad(loss, [w, v]), torch.autograd.grad(expected, [w, v]), strict=True):
        torch.testing.assert_close(one, two, rtol=1e-5, atol=1e-7)


def test_resampling_is_a_convolution_with_1_3_3_1() -> None:
    line = torch.tensor([1.0, 3.0, 3.0, 1.0]).double() / 8
    kernel = torch.outer(line, line)[None, None].expand(3, 1, 4, 4)
    x = torch.randn(2, 3, 4, 6).double()
    torch.testing.assert_close(Resample(up=False)(x), F.conv2d(x, kernel, stride=2, padding=1, groups=3))
    torch.testing.assert_close(Resample(up=True)(x), F.conv_transpose2d(x, 4 * kernel, stride=2, padding=1, groups=3))


def test_a_block_starts_as_the_identity_and_its_layers_at_the_papers_deviations() -> None:
    block = Block(64, 16, 8)
    x = torch.randn(2, 64, 4, 4)
    assert torch.equal(block(x), x)
    gain = math.sqrt(2 / 1.04) * 8 ** (-1 / 4)
    assert block.layers[0].weight.std().item() == pytest.approx(gain / 8, rel=0.05)
    assert block.layers[2].weight.std().item() == pytest.approx(gain / math.sqrt(9 * 16), rel=0.05)


def test_both_networks_keep_the_signals_size_at_the_papers_width() -> None:
    torch.manual_seed(0)
    generator = R3Generator(channels=3, image_size=32, classes=10, latent_dim=64, output="linear")
    images = generator(torch.randn(16, 64))
    assert images.shape == (16, 3, 32, 32)
    assert 0.2 < images.std().item() < 2
    features = R3Discriminator(channels=3, image_size=32)(torch.randn(16, 3, 1, 1).expand(-1, -1, 32, 32))
    assert features.shape == (16, 192)
    assert 0.2 < features.std().item() < 2


def test_the_head_compares_an_image_with_its_class() -> None:
    head = InnerProduct(features=8, classes=3)
    features, label = torch.randn(5, 8), torch.tensor([0, 1, 2, 0, 1])
    expected = [head.embedding.weight[y] @ (head.linear.weight @ x) for x, y in zip(features, label, strict=True)]
    torch.testing.assert_close(head(features, label), torch.stack(expected))


def test_a_conditional_generator_obeys_its_labels_and_another_ignores_them() -> None:
    for conditional in (True, False):
        network = R3Generator(channels=1, image_size=8, classes=3, latent_dim=4, maps=[8], blocks=1, conditional=conditional)
        z = torch.randn(1, 4).expand(3, -1)
        images = network(z, torch.arange(3))
        assert torch.equal(images[0], images[1]) is not conditional


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"image_size": 12}, "a power of two"),
        ({"image_size": 8, "maps": [8, 8, 8]}, "need 2 numbers of maps"),
        ({"image_size": 8, "maps": [9]}, "set 'maps' to multiples of 2"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(settings: dict[str, object], sentence: str) -> None:
    with pytest.raises(GancoreError, match=sentence):
        R3Discriminator(channels=1, **settings)  # type: ignore[arg-type]


def test_the_schedules_of_the_recipe_are_the_public_codes() -> None:
    """Rate 2e-4 to 5e-5, beta2 0.9 to 0.99, gamma 2 to 0.2, half-life 0 to 500,000 images, all in 20 million images."""
    plan = make_plan(read("r3gan/cifar10", registry()), registry())

    def cosine(first: float, last: float, iteration: int) -> float:
        return last + (first - last) * 0.5 * (1 + math.cos(math.pi * min(1, iteration * 512 / 2e7)))

    for player in ("generator", "discriminator"):
        factors, settings = plan.factors(f"optimizers.{player}"), plan.optimizers[player].settings
        for iteration in (0, 5000, 20000, 39063, 100000):
            assert settings["lr"] * factors["lr"](iteration) == pytest.approx(cosine(2e-4, 5e-5, iteration), rel=1e-4)
            assert settings["betas"][1] * factors["beta2"](iteration) == pytest.approx(cosine(0.9, 0.99, iteration), rel=1e-4)
    decay, factor = plan.recipe.ema.decay, plan.factors("ema")["decay"]
    for iteration in (100, 5000, 20000, 39063, 100000):
        assert decay * factor(iteration) == pytest.approx(0.5 ** (512 / cosine(0, 500_000, iteration)), rel=1e-4)
    weight = plan.factors("losses.penalty")["weight"]
    assert [2 * weight(iteration) for iteration in (0, 39063)] == pytest.approx([2, 0.2], rel=1e-6)


def test_a_half_life_starts_at_nothing() -> None:
    assert half_life(iterations=10, half_life=5.0)(0) == 0
    assert burn_in(iterations=10, final=0.5)(0) == 1


SMALL = (
    "run.iterations=4",
    "run.batch_size=8",
    "run.sample_every=0",
    "run.checkpoint_every=2",
    "run.evaluate_every=0",
    "run.keep_checkpoints=0",
    "networks.generator.maps=[8]",
    "networks.discriminator.maps=[8]",
    "networks.annotator=false",
    "metrics=false",
)


def train(out: Path, *words: str) -> Result:
    settings = [word for text in SMALL for word in ("--set", text)]
    return CliRunner().invoke(main, ["train", "r3gan/digits", *settings, "--out", str(out), "--device", "cpu", *words])


def test_the_small_recipe_trains_and_resumes_to_the_last_bit(tmp_path: Path) -> None:
    assert (result := train(tmp_path)).exit_code == 0, result.output
    _, last = sorted((tmp_path / "checkpoints").glob("*.safetensors"))
    whole = last.read_bytes()
    last.unlink()
    assert (result := train(tmp_path, "--resume")).exit_code == 0, result.output
    assert last.read_bytes() == whole

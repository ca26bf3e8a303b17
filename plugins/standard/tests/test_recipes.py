"""Recipes of the papers whose components are here: WGAN-GP, WGAN-LP, SN-GAN, and the projection discriminator."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from gancore_standard.heads import Concatenation
from gancore_standard.losses.penalties import GradientPenalty
from gancore_standard.networks.resnet_gan import ResNetDiscriminator
from gancore_training import TrainingRun, checkpoint, recipe_digest
from torch import Tensor, nn

from gancore.engine.devices import choose_device
from gancore.plan.load import make_plan
from gancore.recipe.recipe import read
from gancore.registry import registry

SMALL = [
    "run.batch_size=8",
    "run.iterations=4",
    "networks.generator.width=0.05",
    "networks.discriminator.width=0.05",
    "networks.annotator=false",
    "metrics=false",
]
DIGITS = sorted(name for name in registry().recipes() if name.startswith("standard/") and name.endswith("-digits"))


def built(name: str, *more: str) -> TrainingRun:
    return TrainingRun(make_plan(read(name, registry(), assignments=[*SMALL, *more]), registry()), choose_device("cpu"), {})


def state(run: TrainingRun, iterations: int) -> dict[str, Tensor]:
    for _ in range(iterations):
        run.step()
    return {name: tensor.clone() for name, tensor in run.networks["generator"].state_dict().items()}


def same(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return all(torch.equal(a[name], b[name]) for name in a)


@pytest.mark.parametrize("name", DIGITS)
def test_a_small_recipe_trains_and_resumes_to_the_last_bit(name: str, tmp_path: Path) -> None:
    whole = state(built(name), 4)
    assert all(bool(torch.isfinite(tensor).all()) for tensor in whole.values())
    half = built(name)
    state(half, 2)
    checkpoint.save(half, tmp_path)
    again = built(name)
    checkpoint.load(again, checkpoint.checkpoints(tmp_path)[-1])
    assert same(whole, state(again, 2))


def test_a_fragment_over_the_plain_recipe_is_the_papers_recipe() -> None:
    adam = [f"optimizers.{player}.betas=[0.0,0.9]" for player in ("generator", "discriminator")]
    for paper in ("wgan-gp", "wgan-lp"):
        recipe = read("standard/digits", registry(), overlays=[f"standard/{paper}"], assignments=adam)
        assert recipe_digest(recipe) == recipe_digest(read(f"standard/{paper}-digits", registry()))


def test_the_generator_of_sn_gan_makes_twice_as_many_images() -> None:
    seen: list[int] = []
    run = built("standard/sn-gan-digits", "loop.generated=16")
    run.networks["generator"].register_forward_hook(lambda _network, _inputs, output: seen.append(len(output)))
    state(run, 1)
    assert seen == [8] * 5 + [16]


# -- the penalty around images -----------------------------------------------------------------------------------------


def around(real: Tensor, fake: Tensor, **settings: Any) -> Tensor:
    return GradientPenalty(points="around", **settings).interpolate(
        real_view=real, fake_view=fake, noise=torch.Generator().manual_seed(0)
    )


def test_points_around_images_lie_in_a_box_of_a_deviation_above_them() -> None:
    rng = torch.Generator().manual_seed(1)
    real = torch.randn(4000, 2, 1, 1, generator=rng)
    fake = 100 + 3 * torch.randn(4000, 2, 1, 1, generator=rng)
    points = around(real, fake)
    is_real = points[:, 0, 0, 0] < 50
    assert is_real.double().mean().item() == pytest.approx(0.5, abs=0.03)
    moved = torch.where(is_real[:, None], (points - real).flatten(1), (points - fake).flatten(1) / 3)
    assert moved.min() >= -1e-5
    assert moved.max().item() == pytest.approx(1, abs=0.05)
    # The product of two uniform numbers has the mean 1 / 4 and the mean square 1 / 9.
    for side in (is_real, ~is_real):
        assert moved[side].mean().item() == pytest.approx(1 / 4, abs=0.01)
        assert moved[side].square().mean().item() == pytest.approx(1 / 9, abs=0.01)
        # One share an image: its two values rise together.
        assert torch.corrcoef(moved[side].T)[0, 1].item() == pytest.approx((1 / 12 - 1 / 16) / (1 / 9 - 1 / 16), abs=0.06)
    assert torch.equal(around(real, fake, scale=0.0), torch.where(is_real[:, None, None, None], real, fake))


def test_points_between_images_are_what_they_were() -> None:
    real, fake = torch.zeros(5, 1, 2, 2), torch.ones(5, 1, 2, 2)
    point = GradientPenalty().interpolate(real_view=real, fake_view=fake, noise=torch.Generator().manual_seed(3))
    share = torch.rand(5, 1, 1, 1, generator=torch.Generator().manual_seed(3))
    assert torch.equal(point, share.expand(5, 1, 2, 2))


# -- the label beside features -----------------------------------------------------------------------------------------


def test_the_label_stands_beside_the_features() -> None:
    head = Concatenation(features=4, classes=3, spectral_norm=False, width=2)
    features, label = torch.randn(5, 4), torch.tensor([0, 1, 2, 1, 0])
    vector = head.embedding.weight[label]
    hidden = torch.cat([features, vector], 1) @ head.hidden.weight.T + head.hidden.bias
    expected = hidden.clamp_min(0) @ head.linear.weight[0] + head.linear.bias
    torch.testing.assert_close(head(features, label), expected)
    # What the label adds depends on the image.
    gaps = head(features, torch.zeros(5).long()) - head(features, torch.ones(5).long())
    assert gaps.std() > 1e-3


def test_a_spectral_head_has_norm_one_in_every_layer() -> None:
    head = Concatenation(features=4, classes=3, spectral_norm=True, width=2)
    for layer in (head.embedding, head.hidden, head.linear):
        for _ in range(50):
            _ = layer.weight
        assert isinstance(layer, nn.Module)
        assert torch.linalg.matrix_norm(layer.weight, 2).item() == pytest.approx(1, abs=1e-3)


def test_mean_pooling_is_the_sum_over_the_places() -> None:
    networks = [
        ResNetDiscriminator(channels=1, image_size=8, width=0.1, spectral_norm=False, pooling=p) for p in ("sum", "mean")
    ]
    networks[1].load_state_dict(networks[0].state_dict())
    x = torch.randn(2, 1, 8, 8)
    places = networks[0].blocks(x).shape[2:].numel()
    torch.testing.assert_close(networks[1](x) * places, networks[0](x))

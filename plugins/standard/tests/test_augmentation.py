"""Augmentations: each equation against numbers by hand, gradients, their noise, and who sees them in a training."""

from __future__ import annotations

import colorsys
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from gancore_standard.augmentation import Augmentation, DiffAugment, colored, cut_out, moved, recolored, translated, turned
from gancore_training import TrainingRun
from torch import Tensor
from torch.nn import functional as F

from gancore import GancoreError
from tests.compose.hosts import run_of, steps

VIEWS: dict[str, Callable[..., Any]] = {
    "standard/diffaugment": DiffAugment,
    "standard/augmentation": lambda **settings: Augmentation(p=1.0, **settings),
}


def noise(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def images(number: int = 4, channels: int = 3, size: int = 8) -> Tensor:
    return torch.rand((number, channels, size, size), generator=noise(9)) * 2 - 1


def numbered(size: int) -> Tensor:
    """Return one image of one channel whose pixels are 1, 2, 3, ... row by row."""
    return torch.arange(1.0, size * size + 1).view(1, 1, size, size)


# -- DiffAugment -------------------------------------------------------------------------------------------------------


def test_colors_by_hand() -> None:
    """Two pixels of two channels, (0, 1) and (0.5, -0.5), brighter by 0.25, half as saturated, of contrast 1.25."""
    x = torch.tensor([[[[0.0, 0.5]], [[1.0, -0.5]]]])
    # Brighter: (0.25, 1.25), (0.75, -0.25). About the grays 0.75 and 0.25 by 1/2: (0.5, 1), (0.5, 0). About 0.5 by 1.25.
    torch.testing.assert_close(
        colored(x, torch.tensor([[0.75, 0.25, 0.75]])), torch.tensor([[[[0.5, 0.5]], [[1.125, -0.125]]]])
    )
    torch.testing.assert_close(colored(x, torch.tensor([[0.5, 0.5, 0.5]])), x)


def test_translations_by_hand() -> None:
    x = numbered(8)
    expected = torch.zeros_like(x)
    expected[..., 1:, :-1] = x[..., :-1, 1:]  # a pixel down, and one to the left
    assert torch.equal(translated(x, torch.tensor([[0.99, 0.0]])), expected)
    assert torch.equal(translated(x, torch.tensor([[0.5, 0.5]])), x)
    farthest = translated(torch.ones(2000, 1, 16, 16), torch.rand((2000, 2), generator=noise()))
    assert farthest.sum((1, 2, 3)).min() == 14 * 14


def test_cutouts_by_hand() -> None:
    x = torch.ones(3, 1, 4, 4)
    hidden = cut_out(x, torch.tensor([[0.5, 0.5], [0.0, 0.5], [0.99, 0.99]])) == 0
    expected = torch.zeros(3, 1, 4, 4, dtype=torch.bool)
    expected[0, :, 1:3, 1:3] = expected[1, :, :1, 1:3] = expected[2, :, 3:, 3:] = True
    assert torch.equal(hidden, expected)


def test_what_a_policy_leaves_out_is_not_done_and_the_rest_is_as_before() -> None:
    x = images()
    alone = {name: DiffAugment(policy=(name,), image_size=8).view(x, noise()) for name in ("color", "translation", "cutout")}
    u = torch.rand((4, 7), generator=noise())
    assert torch.equal(alone["color"], colored(x, u[:, :3]))
    assert torch.equal(alone["translation"], translated(x, u[:, 3:5]))
    assert torch.equal(alone["cutout"], cut_out(x, u[:, 5:]))
    whole = DiffAugment(policy=("cutout", "color", "translation"), image_size=8).view(x, noise())
    assert torch.equal(whole, cut_out(translated(colored(x, u[:, :3]), u[:, 3:5]), u[:, 5:]))


# -- ADA's -------------------------------------------------------------------------------------------------------------


def test_flips_and_quarter_turns_are_those_of_torch() -> None:
    x = images(8)
    flip, quarters = torch.tensor([0, 1]).repeat(4).bool(), torch.arange(4).repeat_interleave(2)
    for n, y in enumerate(turned(x, flip, quarters)):
        assert torch.equal(y, (x[n].flip(2) if flip[n] else x[n]).rot90(int(quarters[n]), (1, 2)))


def test_shifts_reflect_the_border_and_scalings_are_torchs_grids() -> None:
    x = images(2, size=8)
    padded = F.pad(x, (2, 2, 2, 2), mode="reflect")
    y = moved(x, torch.tensor([[1, -2], [0, 0]]), torch.ones(2))
    assert torch.equal(y[0], padded[0, :, 1:9, 4:12])
    assert torch.equal(y[1], x[1])
    for scale in (0.8, 1.3):
        grid = F.affine_grid(torch.tensor([[[1 / scale, 0, 0], [0, 1 / scale, 0]]]), [1, 3, 8, 8], align_corners=True)
        expected = F.grid_sample(x[:1], grid, padding_mode="reflection", align_corners=True)
        torch.testing.assert_close(moved(x[:1], torch.zeros(1, 2), torch.tensor([scale])), expected, atol=1e-5, rtol=1e-5)


def test_colors_turn_about_gray() -> None:
    red = torch.tensor([1.0, 0.0, 0.0]).view(1, 3, 1, 1)
    still, off = torch.zeros(1), torch.zeros(1, dtype=torch.bool)
    # A third of a turn takes red to green, half of one to what is as far on the other side of gray.
    third = recolored(red, off, torch.tensor([2 * math.pi / 3]), torch.ones(1)).flatten()
    assert third.tolist() == pytest.approx([0, 1, 0], abs=1e-6)
    half = recolored(red, off, torch.tensor([math.pi]), torch.ones(1)).flatten().tolist()
    assert half == pytest.approx([-1 / 3, 2 / 3, 2 / 3], abs=1e-6)
    assert colorsys.rgb_to_hsv(*(value + 1 / 3 for value in half))[0] == pytest.approx(0.5)  # cyan
    assert recolored(red, off, still, torch.zeros(1)).flatten().tolist() == pytest.approx([1 / 3] * 3)
    assert recolored(red, ~off, still, torch.ones(1)).flatten().tolist() == pytest.approx([1 / 3, -2 / 3, -2 / 3])


def test_each_is_chosen_with_probability_p() -> None:
    x = images(1, 1).expand(4000, -1, -1, -1)
    assert torch.equal(Augmentation(p=0.0, image_size=8).view(x, noise()), x)
    untouched = (Augmentation(p=0.3, image_size=8, policy=("color",)).view(x, noise()) == x).flatten(1).all(1)
    assert untouched.float().mean().item() == pytest.approx(0.7**2, abs=0.03)
    # Of 4000: not flipped 0.85, not turned 1 - 0.3 * 3/4, not shifted 1 - 0.3 * 8/9, not scaled 0.7.
    untouched = (Augmentation(p=0.3, image_size=8, policy=("geometry",)).view(x, noise()) == x).flatten(1).all(1)
    assert untouched.float().mean().item() == pytest.approx(0.85 * 0.775 * (1 - 0.3 * 8 / 9) * 0.7, abs=0.03)


# -- both --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", VIEWS)
def test_gradients_of_both_orders_reach_the_image(name: str) -> None:
    sampler = VIEWS[name](image_size=4)
    x = images(2, 3, 4).double().requires_grad_()
    assert torch.autograd.gradcheck(lambda image: sampler.view(image, noise()), (x,))
    assert torch.autograd.gradgradcheck(lambda image: sampler.view(image, noise()).square(), (x,))


@pytest.mark.parametrize("name", VIEWS)
def test_each_image_and_each_of_a_group_has_noise_of_its_own(name: str) -> None:
    sampler, x = VIEWS[name](image_size=8), images(1).expand(6, -1, -1, -1)
    y = sampler.view(x, noise())
    assert y.dtype == torch.float32
    assert len({tuple(image.flatten().tolist()) for image in y}) == 6
    assert torch.equal(sampler.view(x.reshape(3, 2, *x.shape[1:]), noise()), y.view(3, 2, *x.shape[1:]))


@pytest.mark.parametrize("name", VIEWS)
def test_points_and_empty_policies_are_refused(name: str) -> None:
    with pytest.raises(GancoreError, match="these data are points; leave it out"):
        VIEWS[name](image_size=1)
    with pytest.raises(GancoreError, match="name one"):
        VIEWS[name](image_size=8, policy=())


@pytest.mark.parametrize("name", VIEWS)
def test_the_discriminator_sees_both_sides_augmented_in_both_turns_and_nothing_else_does(name: str) -> None:
    settings = {"p": 1.0} if name == "standard/augmentation" else {}
    plain, run = run_of(), run_of({"samplers": {"augmentation": {"use": name, **settings}}})
    drawn, batch = plain.fresh(), run.fresh()
    assert torch.equal(batch.real, drawn.real)
    assert torch.equal(batch.real_label, drawn.real_label)
    assert torch.equal(run.generate(run.latent(4, "samples")), plain.generate(plain.latent(4, "samples")))
    before, after = (seen_by_the_discriminator(each) for each in (plain, run))
    assert [x.shape for x in before] == [x.shape for x in after]
    assert sum(map(len, before)) >= 3 * len(drawn.real)  # real and generated in D's turn, and generated in G's
    for own, augmented in zip(before, after, strict=True):
        assert (own != augmented).flatten(1).any(1).float().mean() > 0.9


def seen_by_the_discriminator(run: TrainingRun) -> list[Tensor]:
    """Return what the discriminator is given in one iteration."""
    seen: list[Tensor] = []
    run.networks["discriminator"].register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].detach().clone()))
    steps(run, 1)
    return seen

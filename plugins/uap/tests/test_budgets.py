"""Budgets: sizes, projections, and perturbations in whole levels that images of eight bits carry exactly."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import torch
from gancore_uap.budgets import (
    Norm,
    apply_to_8bit,
    budget_in_levels,
    check_epsilon,
    check_norm,
    fits,
    from_levels,
    project,
    size,
    to_levels,
    whole_levels,
)

from gancore import GancoreError

NORMS: tuple[Norm, ...] = ("linf", "l2")
every_norm = pytest.mark.parametrize("norm", NORMS)


def noise(*shape: int, seed: int = 0, scale: float = 0.1) -> torch.Tensor:
    return scale * torch.randn(shape, generator=torch.Generator().manual_seed(seed))


# -- sizes and projections ---------------------------------------------------------------------------------------------


def test_sizes_are_the_greatest_value_and_the_root_mean_square() -> None:
    delta = noise(3, 5, 7)
    values = delta.double().numpy()
    assert size(delta, "linf").item() == pytest.approx(np.abs(values).max())
    assert size(delta, "l2").item() == pytest.approx(math.sqrt((values**2).mean()))
    assert size(delta[None], "l2").shape == ()


def test_a_constant_has_the_same_size_in_both_norms_at_every_resolution() -> None:
    for side in (1, 8, 224):
        delta = torch.full((3, side, side), 10 / 255)
        assert size(delta, "linf").item() == pytest.approx(10 / 255)
        assert size(delta, "l2").item() == pytest.approx(10 / 255)


@every_norm
def test_a_projection_keeps_what_is_inside_and_brings_the_rest_to_the_edge(norm: Norm) -> None:
    inside = noise(3, 4, 4, scale=0.001)
    assert torch.equal(project(inside, 0.04, norm), inside)
    outside = noise(1, 3, 4, 4)
    projected = project(outside, 0.04, norm)
    assert projected.shape == outside.shape
    assert size(projected, norm).item() == pytest.approx(0.04, rel=1e-6)


def test_a_projection_in_l2_keeps_the_direction() -> None:
    outside = noise(3, 4, 4)
    projected = project(outside, 0.04, "l2")
    assert torch.nn.functional.cosine_similarity(projected.flatten(), outside.flatten(), dim=0).item() == pytest.approx(1)


@every_norm
def test_gradients_of_sizes_and_projections_are_right_and_finite_at_zero(norm: Norm) -> None:
    for start in (noise(2, 3, 3, seed=1).double(), noise(2, 3, 3, scale=1e-3).double()):
        assert torch.autograd.gradcheck(lambda x: project(x, 0.04, norm), start.requires_grad_())
    zero = torch.zeros(3, 4, 4, requires_grad=True)
    (project(zero, 0.04, norm).sum() + size(zero, norm)).backward()
    assert zero.grad is not None
    assert zero.grad.isfinite().all()


@pytest.mark.parametrize("shape", [(4, 4), (2, 3, 4, 4), (3, 0, 4)])
@pytest.mark.parametrize("function", [size, lambda x, norm: project(x, 0.1, norm), lambda x, norm: whole_levels(x, 0.1, norm)])
def test_other_shapes_are_refused(shape: tuple[int, ...], function: Any) -> None:
    with pytest.raises(GancoreError, match="give the one perturbation of all images"):
        function(torch.zeros(shape), "l2")


# -- budgets -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("epsilon", [0.0, -0.1, 1.001, 10.0, math.nan, math.inf])
@every_norm
def test_a_budget_outside_the_scale_is_refused(epsilon: float, norm: Norm) -> None:
    with pytest.raises(GancoreError, match=r"^here: epsilon = .*at most 1; write 10 of 255 levels as 10/255"):
        check_epsilon(epsilon, "here", norm)


def test_a_budget_below_a_level_is_refused_in_the_maximum_norm_only() -> None:
    with pytest.raises(GancoreError, match=r"below 1/255 = 0\.003922.*choose 1/255 or more"):
        check_epsilon(0.0039, "here")
    check_epsilon(0.0039, "here", "l2")
    for allowed in (1 / 255, float(np.float32(1) / np.float32(255)), 0.0039216, 10 / 255, 1.0):
        check_epsilon(allowed, "here")


def test_a_norm_that_there_is_not_is_refused() -> None:
    with pytest.raises(GancoreError, match="here: there is no norm 'l1' of a perturbation; choose linf or l2"):
        check_norm("l1", "here")


def test_every_whole_budget_is_whole_however_it_was_rounded() -> None:
    for k in range(1, 256):
        for written in (k / 255, float(np.float32(k) / np.float32(255)), float(np.float32(k / 255)), float(f"{k / 255:.7f}")):
            assert budget_in_levels(written) == k
    assert budget_in_levels(0.03) == Fraction(0.03) * 255


# -- whole levels ------------------------------------------------------------------------------------------------------


def test_every_level_survives_in_float32_and_in_float64() -> None:
    levels = torch.arange(-255, 256).view(1, 1, -1)
    for delta in (levels.float() / 255, levels.double() / 255, levels.float() * (1 / 255), from_levels(levels)):
        rounded = whole_levels(delta, 1.0, "linf")
        assert rounded.dtype == torch.float32
        assert torch.equal(to_levels(rounded), levels.to(torch.int16))


def test_every_linf_budget_is_used_in_full_and_never_left() -> None:
    far = torch.tensor([-2.0, 2.0]).view(1, 1, 2)
    for k in range(1, 256):
        for epsilon in (k / 255, float(np.float32(k) / np.float32(255))):
            levels = to_levels(whole_levels(far, epsilon, "linf"))
            assert levels.tolist() == [[[-k, k]]]
            edge = torch.tensor([-epsilon, epsilon]).view(1, 1, 2)
            assert to_levels(whole_levels(edge, epsilon, "linf")).tolist() == [[[-k, k]]]
        if k > 1:
            # Just below a whole level, by more than rounding.
            assert to_levels(whole_levels(far, (k - 0.01) / 255, "linf")).tolist() == [[[-(k - 1), k - 1]]]


def test_rounding_is_toward_zero() -> None:
    delta = torch.tensor([-2.9, -2.0, -1.1, -0.9, -0.1, 0.0, 0.5, 0.99, 1.0, 1.9]).view(1, 1, -1) / 255
    rounded = whole_levels(delta, 1.0, "linf")
    assert to_levels(rounded).flatten().tolist() == [-2, -2, -1, 0, 0, 0, 0, 0, 1, 1]
    assert not rounded[rounded == 0].signbit().any()


@every_norm
@pytest.mark.parametrize("epsilon", [0.5 / 255, 1 / 255, 2.5 / 255, 10 / 255, 0.03, 0.2, 1.0])
def test_the_budget_is_never_left_in_exact_arithmetic(norm: Norm, epsilon: float) -> None:
    budget = budget_in_levels(epsilon)
    for seed, scale in enumerate((1e-3, 0.02, 0.05, 0.3, 5.0)):
        for shape in ((1, 1, 1), (3, 5, 7), (1, 3, 16, 16)):
            delta = noise(*shape, seed=seed, scale=scale)
            rounded = whole_levels(delta, epsilon, norm)
            assert rounded.shape == delta.shape
            levels = [int(k) for k in to_levels(rounded).flatten().tolist()]
            if norm == "linf":
                assert max(map(abs, levels)) <= budget
            else:
                assert sum(k * k for k in levels) <= budget**2 * len(levels)
            assert fits(rounded, epsilon, norm)
            assert torch.equal(whole_levels(rounded, epsilon, norm), rounded)
            assert (rounded.abs() <= delta.abs() + 1e-6).all()


def test_an_l2_budget_at_whole_levels_is_used_in_full() -> None:
    signs = noise(3, 8, 8).sign()
    rounded = whole_levels(signs, 10 / 255, "l2")
    assert torch.equal(to_levels(rounded), (10 * signs).to(torch.int16))
    assert fits(rounded, 10 / 255, "l2")
    more = rounded.clone()
    more[0, 0, 0] += more[0, 0, 0].sign() / 255
    assert not fits(more, 10 / 255, "l2")
    assert not fits(more, 10 / 255, "linf")


def test_the_tolerance_never_lifts_a_perturbation_out_of_its_l2_budget() -> None:
    # All values just below a level, and the budget just below too, but by more than what counts as rounding.
    delta = torch.full((3, 8, 8), (10 - 0.9e-4) / 255, dtype=torch.float64)
    epsilon = (10 - 2e-4) / 255
    rounded = whole_levels(delta, epsilon, "l2")
    assert fits(rounded, epsilon, "l2")
    assert to_levels(rounded).unique().tolist() == [9]


def test_a_perturbation_that_is_not_finite_is_refused() -> None:
    for value in (math.nan, math.inf):
        delta = torch.full((1, 2, 2), value)
        with pytest.raises(GancoreError, match="not finite everywhere"):
            whole_levels(delta, 0.1, "linf")
        with pytest.raises(GancoreError, match="not finite everywhere"):
            apply_to_8bit(torch.zeros(1, 1, 2, 2, dtype=torch.uint8), delta)


# -- images ------------------------------------------------------------------------------------------------------------


def test_every_pixel_takes_every_level_exactly() -> None:
    pixels = torch.arange(256, dtype=torch.uint8).view(256, 1, 1, 1).expand(-1, 1, 1, 511)
    levels = torch.arange(-255, 256)
    perturbed = apply_to_8bit(pixels, from_levels(levels).view(1, 1, -1))
    assert perturbed.dtype == torch.uint8
    expected = np.clip(np.arange(256)[:, None] + np.arange(-255, 256)[None], 0, 255)
    assert np.array_equal(perturbed[:, 0, 0].numpy(), expected)


def test_no_pixel_leaves_the_budget_whatever_the_perturbation() -> None:
    pixels = torch.arange(256, dtype=torch.uint8).view(256, 1, 1, 1).expand(-1, 3, 4, 4)
    for k in (1, 2, 10, 100, 255):
        delta = whole_levels(noise(3, 4, 4, scale=1.0), k / 255, "linf")
        change = apply_to_8bit(pixels, delta).int() - pixels.int()
        assert change.abs().max() <= k
        # In the middle nothing is clipped.
        if k <= 127:
            assert torch.equal(change[128], to_levels(delta).int())


def test_the_images_are_left_alone_and_a_batch_of_one_perturbation_is_the_same() -> None:
    images = torch.full((2, 3, 4, 4), 250, dtype=torch.uint8)
    delta = from_levels(torch.full((3, 4, 4), 10))
    perturbed = apply_to_8bit(images, delta)
    assert (images == 250).all()
    assert (perturbed == 255).all()
    assert torch.equal(apply_to_8bit(images, delta[None]), perturbed)


def test_images_that_do_not_fit_are_refused() -> None:
    delta = torch.zeros(3, 4, 4)
    with pytest.raises(GancoreError, match=r"a perturbation \(3, 4, 4\) does not fit images \(2, 3, 5, 5\)"):
        apply_to_8bit(torch.zeros(2, 3, 5, 5, dtype=torch.uint8), delta)
    with pytest.raises(GancoreError, match=r"these are float32; convert them with gancore\.tools\.to_uint8"):
        apply_to_8bit(torch.zeros(2, 3, 4, 4), delta)

"""The dual update: the algorithm's sums written out, its gradient, a density that it moves, and what is refused."""

from __future__ import annotations

import math

import pytest
import torch
from gancore_primaldual.dual_update import DualUpdate
from torch import Tensor
from torch.nn import functional as F

from gancore import GancoreError
from tests.compose.hosts import run_of

TERM = {"use": "primaldual/dual-update", "bandwidth": 2.0, "step": 0.5}


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def test_the_loss_is_the_algorithm_written_out() -> None:
    real, fake, logits = drawn(3, 2, 1, 1), drawn(4, 2, 1, 1, seed=1), drawn(3, seed=2)
    value = DualUpdate(bandwidth=0.8, step=0.3).generator(real_view=real, real_adversarial=logits, fake_view=fake)
    gaps = []
    for x, logit in zip(real.flatten(1).tolist(), logits.tolist(), strict=True):
        near = [math.exp(-(math.dist(x, g) ** 2) / (2 * 0.8**2)) for g in fake.flatten(1).tolist()]
        density = sum(near) / 4
        target = density - 0.3 * math.log(2 * (1 - 1 / (1 + math.exp(-logit))))
        gaps.append((target - density) ** 2)
    assert value.item() == pytest.approx(sum(gaps) / 3, rel=1e-12)


def test_its_gradient_raises_the_density_where_the_discriminator_is_sure() -> None:
    real, logits = drawn(3, 2, 1, 1), drawn(3, seed=2)
    fake = drawn(4, 2, 1, 1, seed=1).requires_grad_()
    term = DualUpdate(bandwidth=0.8, step=0.3)
    value = term.generator(real_view=real, real_adversarial=logits.requires_grad_(), fake_view=fake)
    gradient, through_d = torch.autograd.grad(value, [fake, logits], allow_unused=True)
    assert through_d is None
    # With p~ fixed: E_x 2 (p~ - p_g) (-grad p_g) = 2 step E_x f1 grad p_g, with f1 = log 2 (1 - D).
    weights = 2 * 0.3 * (math.log(2) + F.logsigmoid(-logits.detach())) / 3
    points = fake.detach().flatten(1)
    expected = torch.zeros_like(points)
    for x, weight in zip(real.flatten(1), weights, strict=True):
        near = torch.exp(-(x - points).square().sum(1, keepdim=True) / (2 * 0.8**2))
        expected += weight * near * (x - points) / 0.8**2 / 4
    torch.testing.assert_close(gradient.flatten(1), expected)


def test_a_discriminator_that_knows_nothing_moves_nothing() -> None:
    fake = drawn(4, 2, 1, 1).requires_grad_()
    term = DualUpdate(bandwidth=0.8)
    value = term.generator(real_view=drawn(3, 2, 1, 1, seed=1), real_adversarial=torch.zeros(3), fake_view=fake)
    (gradient,) = torch.autograd.grad(value, fake)
    assert value.item() == pytest.approx(0, abs=1e-12)
    torch.testing.assert_close(gradient, torch.zeros_like(gradient), rtol=0, atol=1e-7)


def test_points_that_follow_it_reach_a_mode_that_they_have_left_out() -> None:
    """With the best discriminator of the densities, p_d / (p_d + p_g), some of the points leave the mode that has all."""
    real = torch.cat([0.1 * drawn(50, 2) + 0.5, 0.1 * drawn(50, 2, seed=1) - 0.5])
    fake = 0.1 * drawn(100, 2, seed=2) + 0.5
    term = DualUpdate(bandwidth=0.4, step=1.0)
    for _ in range(300):
        fake.requires_grad_()
        logits = (term.density(real, real) / term.density(real, fake)).log().detach()
        (gradient,) = torch.autograd.grad(term.generator(real_view=real, real_adversarial=logits, fake_view=fake), fake)
        fake = fake.detach() - 2 * gradient
    assert 25 <= int((fake.sum(1) < 0).sum()) <= 75


def test_a_run_adds_it_to_the_generators_loss_alone() -> None:
    run = run_of({"losses": {"adversarial": {"use": "standard/minimax"}, "dual": TERM}})
    batch = run.fresh()
    run.phase("discriminator", batch)
    assert "discriminator/dual" not in run.losses
    with torch.no_grad():
        images = run.networks["generator"](batch.z, batch.fake_label)
        features = run.networks["discriminator"](batch.real)
        f1 = math.log(2) + F.logsigmoid(-run.heads["adversarial"](features, batch.real_label))
        expected = (0.5 * f1).square().mean()
        assert images.shape == batch.real.shape
    run.phase("generator", batch)
    assert run.losses["generator/dual"].item() == pytest.approx(expected.item(), rel=1e-3)


@pytest.mark.parametrize(
    ("setting", "value"), [("bandwidth", 0.0), ("bandwidth", 1e-30), ("step", -1.0), ("bandwidth", "wide")]
)
def test_bad_settings_are_refused(setting: str, value: object) -> None:
    with pytest.raises(GancoreError, match=rf"losses.dual.*{setting}"):
        run_of({"losses": {"dual": {**TERM, setting: value}}})

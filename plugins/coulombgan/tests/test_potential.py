"""The potential field: parity with the authors' code, sums written out, what follows it, and what is refused."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from gancore_coulombgan.potential import Potential, plummer
from torch import Tensor

from gancore import GancoreError
from tests.compose.hosts import run_of

Load = Callable[[str], dict[str, Any]]


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(("dimension", "epsilon"), [(3, 1.0), (3, 0.5), (8, 1.0)])
def test_the_field_agrees_with_the_authors_code(parity: Load, dimension: int, epsilon: float) -> None:
    vectors = {name: torch.from_numpy(value) for name, value in parity("coulomb").items()}
    fake, real, suffix = vectors["fake_or_x"], vectors["real_or_y"], f"d{dimension}_eps{epsilon}"
    kernel = plummer(fake, real, dimension, epsilon)
    torch.testing.assert_close(kernel, vectors[f"kernel_xy_{suffix}"], rtol=1e-9, atol=0)
    at_real, at_fake = Potential(dimension=dimension, epsilon=epsilon).potentials(real, fake)
    # The authors' real images are low.
    torch.testing.assert_close(-at_real, vectors[f"pot_y_{suffix}"], rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(-at_fake, vectors[f"pot_x_{suffix}"], rtol=1e-9, atol=1e-12)


def test_the_losses_are_the_sums_written_out() -> None:
    real, fake, at_real, at_fake = drawn(3, 2, 1, 1), drawn(4, 2, 1, 1, seed=1), drawn(3, seed=2), drawn(4, seed=3)
    points = [image.flatten().tolist() for image in (*real, *fake)]

    def field(a: list[float]) -> float:
        near = [((a[0] - b[0]) ** 2 + (a[1] - b[1]) ** 2 + 0.25) ** -0.75 for b in points]
        return sum(near[:3]) / 3 - sum(near[3:]) / 4

    answers = [*at_real.tolist(), *at_fake.tolist()]
    errors = [(answer - field(point)) ** 2 for answer, point in zip(answers, points, strict=True)]
    loss = Potential(dimension=3.5, epsilon=0.5)
    views = {"real_view": real.requires_grad_(), "fake_view": fake.requires_grad_()}
    value = loss.discriminator(**views, real_adversarial=at_real.requires_grad_(), fake_adversarial=at_fake)
    assert value.item() == pytest.approx(sum(errors[:3]) / 3 + sum(errors[3:]) / 4, rel=1e-12)
    # The field is a target: it has no gradient towards the images.
    gradient, *others = torch.autograd.grad(value, [at_real, *views.values()], allow_unused=True)
    assert others == [None, None]
    wanted = [2 / 3 * (answer - field(point)) for answer, point in zip(answers[:3], points[:3], strict=True)]
    torch.testing.assert_close(gradient, torch.tensor(wanted, dtype=torch.float64))
    assert loss.generator(fake_adversarial=at_fake).item() == pytest.approx(-at_fake.mean().item())
    assert torch.equal(loss.attacked(real_adversarial=at_real), -at_real)


def test_equal_sets_have_no_field() -> None:
    at_real, at_fake = Potential().potentials(drawn(6, 1, 3, 3), drawn(6, 1, 3, 3)[torch.randperm(6)])
    torch.testing.assert_close(torch.cat([at_real, at_fake]), torch.zeros(12, dtype=torch.float64), rtol=0, atol=1e-12)


def test_points_that_climb_the_field_reach_both_of_two_modes() -> None:
    real = torch.cat([0.05 * drawn(20, 2) + 1, 0.05 * drawn(20, 2, seed=1) - 1])
    fake = 0.1 * drawn(40, 2, seed=2) + 0.9  # all of them at one mode
    for _ in range(400):
        fake.requires_grad_()
        charges = fake.detach()
        field = plummer(fake, real, 3, 0.5).mean(1) - plummer(fake, charges, 3, 0.5).mean(1)
        (force,) = torch.autograd.grad(field.sum(), fake)
        fake = fake.detach() + 0.3 * force
    assert 14 <= int((fake.sum(1) < 0).sum()) <= 26
    assert float((fake.abs() - 1).norm(dim=1).median()) < 0.1


def test_a_run_learns_the_field_of_its_batch() -> None:
    run = run_of({"losses": {"adversarial": {"use": "coulombgan/potential", "dimension": 4.0}}})
    batch = run.fresh()
    with torch.no_grad():
        sides = {"real": batch.real, "fake": run.networks["generator"](batch.z, batch.fake_label)}
        label = torch.zeros(len(batch.real), dtype=torch.int64)
        answers = {k: run.heads["adversarial"](run.networks["discriminator"](x), label) for k, x in sides.items()}
        square = {k: torch.cdist(sides["real"].flatten(1), x.flatten(1)).square() for k, x in sides.items()}
        field = (square["real"] + 1).reciprocal().mean(1) - (square["fake"] + 1).reciprocal().mean(1)
        between = torch.cdist(sides["fake"].flatten(1), sides["fake"].flatten(1)).square()
        at_fake = (square["fake"].T + 1).reciprocal().mean(1) - (between + 1).reciprocal().mean(1)
        expected = (answers["real"] - field).square().mean() + (answers["fake"] - at_fake).square().mean()
    run.phase("discriminator", batch)
    assert run.losses["discriminator/adversarial"].item() == pytest.approx(expected.item(), rel=1e-4)


@pytest.mark.parametrize(
    ("setting", "value"), [("dimension", 2.0), ("epsilon", 0.0), ("epsilon", 1e300), ("dimension", math.nan)]
)
def test_a_kernel_that_is_none_is_refused(setting: str, value: float) -> None:
    with pytest.raises(GancoreError, match=f"losses.adversarial.*{setting}"):
        run_of({"losses": {"adversarial": {"use": "coulombgan/potential", setting: value}}})


@pytest.mark.parametrize(("dimension", "epsilon"), [(3.0, 1e-20), (50.0, 0.1)])
def test_a_kernel_that_no_float_holds_is_refused(dimension: float, epsilon: float) -> None:
    with pytest.raises(GancoreError, match=f"^a kernel of dimension = {dimension:g} and epsilon = {epsilon:g} is above 1e15"):
        Potential(dimension=dimension, epsilon=epsilon)
    largest = Potential(dimension=4.0, epsilon=1e-7)
    images, logits = drawn(5, 1, 2, 2).float(), torch.zeros(5)
    loss = largest.discriminator(real_view=images, fake_view=images + 1, real_adversarial=logits, fake_adversarial=logits)
    assert loss.isfinite()

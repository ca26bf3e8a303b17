"""The regularizer: parity with the authors' code, the paper's claims, and where it is computed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from gancore_bre.regularizer import Entropy, EntropyBetween, activation_correlation, marginal_entropy, signs
from torch import Tensor

from gancore import GancoreError

Load = Callable[[str], dict[str, Any]]


def layers(vectors: dict[str, Any], kind: str) -> list[Tensor]:
    return [torch.as_tensor(vectors[f"{kind}_h{number}"]).requires_grad_() for number in range(3)]


def mean_of(measure: Callable[[Tensor], Tensor], preactivations: list[Tensor]) -> Tensor:
    return torch.stack([measure(signs(h)) for h in preactivations]).mean()


@pytest.mark.parametrize("kind", ["diverse", "collapsed"])
def test_the_regularizer_agrees_with_the_authors_code(parity: Load, kind: str) -> None:
    vectors = parity("bre")
    hidden = layers(vectors, kind)
    marginal = mean_of(marginal_entropy, hidden)
    assert marginal.item() == pytest.approx(float(vectors[f"{kind}_me"]), rel=1e-12)
    for margin in (1.0, 3.0):
        correlation = mean_of(lambda pattern, margin=margin: activation_correlation(pattern, margin), hidden)
        assert correlation.item() == pytest.approx(float(vectors[f"{kind}_ac_s{margin}"]), rel=1e-12)
    loss = Entropy(layers=[0, 1, 2]).discriminator(fake_preactivations=hidden)
    assert loss.item() == pytest.approx(float(vectors[f"{kind}_me"] + vectors[f"{kind}_ac"]), rel=1e-12)
    for number, gradient in enumerate(torch.autograd.grad(loss, hidden)):
        torch.testing.assert_close(gradient, torch.as_tensor(vectors[f"{kind}_grad{number}"]), rtol=1e-9, atol=1e-15)


def test_signs_are_soft_and_do_not_depend_on_the_layers_scale() -> None:
    """Section 3.4: 90 to 99 % of normal units have a magnitude above 0.9."""
    h = torch.randn(64, 100, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    pattern = signs(h)
    assert (pattern.abs() > 0.9).double().mean() > 0.9
    assert (pattern.abs() < 1).all()
    torch.testing.assert_close(signs(1e5 * h), pattern, rtol=1e-12, atol=0)
    assert torch.equal(pattern.sign(), h.sign())
    assert torch.equal(signs(torch.zeros(3, 2)), torch.zeros(3, 2))


def test_the_most_even_patterns_cost_nothing_and_equal_ones_the_most() -> None:
    """Section 3.2: independent units that are on half of the time are within the margin."""
    chance = torch.randint(0, 2, (64, 400), generator=torch.Generator().manual_seed(0)).double() * 2 - 1
    assert activation_correlation(chance).item() < 1e-4  # chance leaves 0.3 % of the pairs beyond it
    assert marginal_entropy(chance).item() == pytest.approx(1 / 64, rel=0.2)
    same = chance[:1].expand(64, -1)
    assert marginal_entropy(same).item() == 1
    assert activation_correlation(same).item() == pytest.approx((1 - 3 / 20) * 63 / 64)


def test_steps_make_patterns_less_alike() -> None:
    layer = torch.nn.Linear(20, 200)
    torch.nn.init.constant_(layer.bias, 1.5)
    inputs = torch.randn(16, 20, generator=torch.Generator().manual_seed(1))
    optimizer = torch.optim.Adam(layer.parameters(), lr=0.02)
    values = []
    for _ in range(60):
        loss = Entropy(layers=[0]).discriminator(fake_preactivations=[layer(inputs)])
        values.append(loss.item())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert values[-1] < values[0] / 2


def test_by_default_the_last_hidden_layer_is_left_alone() -> None:
    hidden = [torch.randn(4, 8, requires_grad=True) for _ in range(3)]
    loss = Entropy().discriminator(fake_preactivations=hidden)
    first, second, last = torch.autograd.grad(loss, hidden, allow_unused=True)
    assert first.abs().sum() > 0
    assert second.abs().sum() > 0
    assert last is None
    assert torch.equal(loss, Entropy(layers=[0, 1]).discriminator(fake_preactivations=hidden))


@pytest.mark.parametrize("points", ["between", "beyond"])
def test_points_lie_on_the_line_through_a_pair(points: Any) -> None:
    real, fake = torch.rand(50, 1, 2, 2) + 1, -torch.rand(50, 1, 2, 2)
    term = EntropyBetween(points=points)
    mixed = term.interpolate(real_view=real, fake_view=fake, noise=torch.Generator().manual_seed(0))
    share = ((mixed - real) / (fake - real)).flatten(1).numpy()
    np.testing.assert_allclose(share, share[:, :1].repeat(4, 1), rtol=1e-4, atol=1e-5)
    low, high = (0, 1) if points == "between" else (-1, 0)
    assert ((share > low - 1e-5) & (share < high + 1e-5)).all()
    assert share[:, 0].std() > 0.2
    hidden = [torch.randn(4, 8), torch.randn(4, 8)]
    assert torch.equal(term.discriminator(mixed_preactivations=hidden), Entropy().discriminator(fake_preactivations=hidden))


def test_layers_that_there_are_not_are_refused() -> None:
    hidden = [torch.randn(4, 8)]
    with pytest.raises(GancoreError, match="before the last, and the discriminator has 1"):
        Entropy().discriminator(fake_preactivations=hidden)
    with pytest.raises(GancoreError, match=r"\[0, 1\], and the discriminator has 1"):
        Entropy(layers=[0, 1]).discriminator(fake_preactivations=hidden)
    for wrong in ([], [-1]):
        with pytest.raises(GancoreError, match="names no hidden layers"):
            Entropy(layers=wrong)

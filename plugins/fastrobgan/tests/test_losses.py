"""The losses of RobGAN and Fast-RobGAN, against the papers' code and independent computations."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from gancore_fastrobgan.losses import FastLoss, FineTune, SplitLoss, divergence_from_uniform
from scipy.special import log_softmax
from scipy.stats import entropy
from torch import Tensor

Load = Callable[[str], dict[str, Any]]


def drawn(seed: int = 0) -> dict[str, Tensor]:
    random = np.random.default_rng(seed)
    n, k = 6, 5
    tensors = {
        "real_adversarial": random.normal(0, 2, n),
        "fake_adversarial": random.normal(0, 2, n),
        "real_classes": random.normal(0, 2, (n, k)),
        "fake_classes": random.normal(0, 2, (n, k)),
        "real_label": random.integers(0, k, n),
        "fake_label": random.integers(0, k, n),
    }
    return {name: torch.as_tensor(value) for name, value in tensors.items()}


def pick(values: dict[str, Tensor], *names: str) -> dict[str, Tensor]:
    return {name: values[name] for name in names}


D_NAMES = ("real_adversarial", "real_classes", "real_label", "fake_adversarial", "fake_classes", "fake_label")
G_NAMES = ("fake_adversarial", "fake_classes", "fake_label")


def cross_entropy(logits: Tensor, label: Tensor) -> np.ndarray:
    return -log_softmax(logits.numpy(), axis=1)[np.arange(len(label)), label.numpy()]


def test_the_split_loss_agrees_with_robgans_code(parity: Load) -> None:
    """`loss_nll` with lambda 0.5 on real images, and with lambda 1 (their ``--our_loss``) on generated ones."""
    vectors = parity("robgan_attacks")
    logit, classes, y = (torch.as_tensor(vectors[name]) for name in ("bin", "multi", "y"))
    loss = SplitLoss()
    real = {"real_adversarial": logit, "real_classes": classes, "real_label": y}
    fake = {"fake_adversarial": logit, "fake_classes": classes, "fake_label": y}
    ones, zeros = vectors["nll_ones_lam0.5"], vectors["nll_zeros_lam1.0"]
    assert loss.attacked(**real).mean().item() == pytest.approx(ones, rel=1e-9)
    assert loss.generator(**fake).item() == pytest.approx(ones, rel=1e-9)
    assert loss.discriminator(**real, **fake).item() == pytest.approx(ones + zeros, rel=1e-9)
    acgan = SplitLoss(fake=0.5, fake_label=0.5)
    assert acgan.discriminator(**real, **fake).item() == pytest.approx(ones + vectors["nll_zeros_lam0.5"], rel=1e-9)


def test_the_fast_loss_is_equations_3_1_and_3_2() -> None:
    values = drawn()
    k = values["fake_classes"].shape[1]
    real = np.maximum(0, 1 - values["real_adversarial"].numpy()) + cross_entropy(values["real_classes"], values["real_label"])
    p = np.exp(log_softmax(values["fake_classes"].numpy(), axis=1))
    divergence = np.array([entropy(row, np.full(k, 1 / k)) for row in p])
    hinge = np.maximum(0, 1 + values["fake_adversarial"].numpy()).mean()
    for uniform in (0.0, 1.0, 0.3):
        got = FastLoss(uniform=uniform).discriminator(**pick(values, *D_NAMES[:-1]))
        assert got.item() == pytest.approx(real.mean() + hinge + uniform * divergence.mean(), rel=1e-12)
    wanted = (
        -values["fake_adversarial"].numpy().mean() + 0.2 * cross_entropy(values["fake_classes"], values["fake_label"]).mean()
    )
    assert FastLoss(alpha=0.2).generator(**pick(values, *G_NAMES)).item() == pytest.approx(wanted, rel=1e-12)
    np.testing.assert_allclose(FastLoss().attacked(**pick(values, *D_NAMES[:3])), real, rtol=1e-12)


def test_the_hinge_agrees_with_robgans_code(parity: Load) -> None:
    vectors = parity("robgan_attacks")
    logit = torch.as_tensor(vectors["bin"])
    flat, label = torch.zeros(len(logit), 5, dtype=torch.float64), torch.zeros(len(logit), dtype=torch.int64)
    certain = torch.full((len(logit), 5), -1e4, dtype=torch.float64)
    certain[:, 0] = 1e4
    got = FastLoss().discriminator(
        real_adversarial=-logit, real_classes=certain, real_label=label, fake_adversarial=logit, fake_classes=flat
    )
    assert got.item() == pytest.approx(vectors["hinge_d_fake=b_real=-b"], rel=1e-9)
    tensors = {"fake_adversarial": logit, "fake_classes": certain, "fake_label": label}
    assert FastLoss().generator(**tensors).item() == pytest.approx(vectors["hinge_g"], rel=1e-9)


def test_the_divergence_is_0_for_uniform_and_log_k_for_certain_predictions() -> None:
    logits = torch.tensor([[3.0] * 7, [200.0] + [0.0] * 6])
    torch.testing.assert_close(divergence_from_uniform(logits), torch.tensor([0.0, np.log(7)]).float(), atol=1e-6, rtol=1e-6)
    extreme = torch.tensor([[1e4, -1e4, 0.0]], requires_grad=True)
    divergence_from_uniform(extreme).sum().backward()
    assert extreme.grad is not None
    assert torch.isfinite(extreme.grad).all()


def test_gradients_agree_with_finite_differences() -> None:
    values = drawn(1)
    for term in (SplitLoss(fake_label=0.5), FastLoss()):
        for method, names in (("discriminator", D_NAMES), ("generator", G_NAMES)):
            wanted = names[:-1] if isinstance(term, FastLoss) and method == "discriminator" else names
            floats = [name for name in wanted if values[name].is_floating_point()]

            def loss(
                *inputs: Tensor, term: Any = term, method: str = method, wanted: Any = wanted, floats: Any = floats
            ) -> Tensor:
                return getattr(term, method)(**{**pick(values, *wanted), **dict(zip(floats, inputs, strict=True))})

            assert torch.autograd.gradcheck(loss, [values[name].requires_grad_() for name in floats])
            for name in floats:
                values[name].requires_grad_(False)


def test_fine_tuning_is_equation_10() -> None:
    values = drawn()
    real = cross_entropy(values["real_classes"], values["real_label"])
    fake = cross_entropy(values["fake_classes"], values["fake_label"])
    term = FineTune(fake=0.3)
    both = pick(values, "real_classes", "real_label", "fake_classes", "fake_label")
    assert term.discriminator(**both).item() == pytest.approx(real.mean() + 0.3 * fake.mean(), rel=1e-12)
    alone = pick(values, "real_classes", "real_label")
    assert term.discriminator(**alone).item() == pytest.approx(real.mean(), rel=1e-12)
    np.testing.assert_allclose(term.attacked(**alone), real, rtol=1e-12)
    np.testing.assert_allclose(term.attacked_fake(**pick(values, "fake_classes", "fake_label")), fake, rtol=1e-12)

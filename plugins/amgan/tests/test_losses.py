"""The losses: parity with the authors' code, the paper's equations and lemmas by independent computations, gradients."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from gancore_amgan.losses import AMGAN, Auxiliary, CatGAN, LabelGAN, Predefined, Uniform, dynamic_labels
from scipy import stats
from scipy.special import log_softmax, softmax
from torch import Tensor

Load = Callable[[str], dict[str, Any]]


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.from_numpy(np.random.default_rng(seed).normal(0, 2, shape)).requires_grad_()


def gradient(loss: Tensor, of: Tensor) -> Tensor:
    assert loss.shape == ()
    (each,) = torch.autograd.grad(loss, of)
    return each


def test_am_gan_agrees_with_the_authors_code(parity: Load) -> None:
    vectors = {name: torch.as_tensor(value) for name, value in parity("am_score").items()}
    fake = vectors["logits_fake"].requires_grad_()
    term = AMGAN()
    loss = term.discriminator(real_extended=vectors["logits_real"], real_label=vectors["y_real"], fake_extended=fake)
    assert loss.item() == pytest.approx(vectors["amgan_d_loss"].item(), rel=1e-12)
    assert torch.equal(dynamic_labels(fake[:, :-1]), vectors["amgan_dynamic_labels"])
    loss = term.generator(fake_extended=fake)
    assert loss.item() == pytest.approx(vectors["amgan_g_loss"].item(), rel=1e-12)
    torch.testing.assert_close(gradient(loss, fake), vectors["amgan_g_grad"], rtol=1e-10, atol=1e-14)


def test_the_gradient_of_am_gan_is_that_of_one_class_alone() -> None:
    """Lemma 1: minus the gradient of H(v, D) is v - D, and v is one class."""
    logits = drawn(5, 4)
    target = np.eye(4)[logits.detach().numpy()[:, :-1].argmax(1)]
    expected = (softmax(logits.detach().numpy(), axis=1) - target) / 5
    np.testing.assert_allclose(gradient(AMGAN().generator(fake_extended=logits), logits), expected, atol=1e-14)


def test_labelgan_raises_every_class_as_strongly_as_it_is_likely() -> None:
    """Eq. 2 and Eq. 11."""
    logits = drawn(5, 4)
    d = softmax(logits.detach().numpy(), axis=1)
    real = d[:, :-1].sum(1, keepdims=True)
    loss = LabelGAN().generator(fake_extended=logits)
    assert loss.item() == pytest.approx(-np.log(real).mean(), rel=1e-12)
    raised = np.concatenate([(1 - real) * d[:, :-1] / real, -(1 - real)], axis=1)
    np.testing.assert_allclose(-gradient(loss, logits) * 5, raised, atol=1e-14)


def test_am_gan_is_labelgan_and_an_auxiliary_classifier() -> None:
    """Lemma 2 and Eq. 17."""
    logits = drawn(6, 5)
    whole = AMGAN().generator(fake_extended=logits)
    pieces = LabelGAN().generator(fake_extended=logits) + Auxiliary().generator(fake_classes=logits[:, :-1])
    torch.testing.assert_close(whole, pieces, rtol=1e-12, atol=0)
    torch.testing.assert_close(gradient(whole, logits), gradient(pieces, logits), rtol=1e-12, atol=1e-15)


def test_the_three_games_of_k_plus_1_classes_have_one_discriminator() -> None:
    real, fake, label = drawn(6, 4, seed=1), drawn(7, 4, seed=2), torch.tensor([0, 1, 2, 2, 1, 0])
    log_real, log_fake = (log_softmax(x.detach().numpy(), axis=1) for x in (real, fake))
    expected = -log_real[np.arange(6), label.numpy()].mean() - log_fake[:, -1].mean()
    for cls in (AMGAN, Predefined, LabelGAN):
        loss = cls().discriminator(real_extended=real, real_label=label, fake_extended=fake)
        assert loss.item() == pytest.approx(expected, rel=1e-12)
        each = cls().attacked(real_extended=real, real_label=label)
        np.testing.assert_allclose(each.detach(), -log_real[np.arange(6), label.numpy()])


def test_predefined_labels_are_raised_and_no_other() -> None:
    logits, label = drawn(6, 4), torch.tensor([2, 1, 0, 0, 1, 2])
    loss = Predefined().generator(fake_extended=logits, fake_label=label)
    expected = -log_softmax(logits.detach().numpy(), axis=1)[np.arange(6), label.numpy()].mean()
    assert loss.item() == pytest.approx(expected, rel=1e-12)
    dynamic = dynamic_labels(logits[:, :-1])
    same = Predefined().generator(fake_extended=logits, fake_label=dynamic)
    assert torch.equal(same, AMGAN().generator(fake_extended=logits))


@pytest.mark.parametrize("weight", [0.0, 1.0, 0.3])
def test_catgan_is_springenbergs(weight: float) -> None:
    """Eq. 7 to 9 of arXiv:1511.06390, by scipy."""
    real, fake, label = drawn(6, 3, seed=1), drawn(7, 3, seed=2), torch.tensor([0, 1, 2, 2, 1, 0])
    p, q = (softmax(x.detach().numpy(), axis=1) for x in (real, fake))
    certainty = [stats.entropy(x, axis=1).mean() - stats.entropy(x.mean(0)) for x in (p, q)]
    supervised = -np.log(p[np.arange(6), label.numpy()])
    expected = certainty[0] - stats.entropy(q, axis=1).mean() + weight * supervised.mean()
    term = CatGAN(supervised=weight)
    assert term.discriminator(real_classes=real, real_label=label, fake_classes=fake).item() == pytest.approx(expected)
    assert term.generator(fake_classes=fake).item() == pytest.approx(certainty[1])
    each = term.attacked(real_classes=real, real_label=label).detach()
    np.testing.assert_allclose(each, stats.entropy(p, axis=1) + weight * supervised)


def test_catgan_is_least_for_sure_and_even_classes_and_its_gradient_finite() -> None:
    sure = (1e4 * torch.eye(4)).requires_grad_()
    loss = CatGAN().generator(fake_classes=sure)
    assert loss.item() == pytest.approx(-math.log(4))
    assert gradient(loss, sure).isfinite().all()
    assert CatGAN().generator(fake_classes=torch.zeros(4, 4)).item() == pytest.approx(0, abs=1e-6)
    collapsed = 1e4 * torch.eye(4)[[1, 1, 1, 1]]
    assert CatGAN().generator(fake_classes=collapsed).item() == pytest.approx(0, abs=1e-6)


def test_ac_gan_star_learns_classes_from_real_images_alone() -> None:
    """Eq. 7, 9 and 20."""
    real, fake, label = drawn(6, 3, seed=1), drawn(7, 3, seed=2), torch.tensor([0, 1, 2, 2, 1, 0])
    log_real, log_fake = (log_softmax(x.detach().numpy(), axis=1) for x in (real, fake))
    term = Auxiliary(generator=0.1)
    loss = term.discriminator(real_classes=real, real_label=label)
    assert loss.item() == pytest.approx(-log_real[np.arange(6), label.numpy()].mean())
    torch.testing.assert_close(term.attacked(real_classes=real, real_label=label).mean(), loss)
    assert term.generator(fake_classes=fake).item() == pytest.approx(-0.1 * log_fake.max(1).mean())
    assert Uniform().discriminator(fake_classes=fake).item() == pytest.approx(-log_fake.mean(1).mean())
    assert Uniform().discriminator(fake_classes=torch.zeros(2, 3)).item() == pytest.approx(math.log(3))


def test_the_losses_stay_finite_for_any_logits() -> None:
    logits = torch.tensor([[1e4, -1e4, 0.0, 1e4], [-1e4, -1e4, -1e4, 1e4]]).requires_grad_()
    label = torch.tensor([1, 2])
    losses = [
        AMGAN().discriminator(real_extended=logits, real_label=label, fake_extended=logits),
        AMGAN().generator(fake_extended=logits),
        LabelGAN().generator(fake_extended=logits),
        CatGAN().discriminator(real_classes=logits, real_label=label, fake_classes=logits),
        Uniform().discriminator(fake_classes=logits),
    ]
    for loss in losses:
        assert loss.isfinite()
        assert gradient(loss, logits).isfinite().all()

"""The losses: each equation by an independent computation, and where its gradients go."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from gancore_triplegan.losses import Confidence, Consistency, Pairs
from gancore_triplegan.schedules import rise
from scipy.special import expit, log_expit, log_softmax, softmax
from torch import Tensor


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.from_numpy(np.random.default_rng(seed).normal(0, 2, shape)).requires_grad_()


def of(tensor: Tensor) -> np.ndarray:
    return tensor.detach().numpy()


@pytest.mark.parametrize("alpha", [0.5, 0.2])
@pytest.mark.parametrize("share", [1.0, 0.1])
def test_the_discriminators_loss_is_that_of_algorithm_1(alpha: float, share: float) -> None:
    labeled, guessed, fake = drawn(7, seed=1), drawn(5, seed=2), drawn(9, seed=3)
    term = Pairs(alpha=alpha, labeled=share)
    loss = term.discriminator(labelled_adversarial=labeled, guessed_adversarial=guessed, fake_adversarial=fake)
    # D is a probability here, as the paper has it.
    true, named, made = (expit(of(logits)) for logits in (labeled, guessed, fake))
    expected = -share * np.log(true).mean() - (1 - share) * np.log(named).mean()
    expected -= alpha * np.log(1 - named).mean() + (1 - alpha) * np.log(1 - made).mean()
    assert loss.item() == pytest.approx(expected, rel=1e-10)
    loss.backward()
    assert of(labeled.grad) == pytest.approx(-share * (1 - true) / 7)
    assert of(guessed.grad) == pytest.approx((alpha * named - (1 - share) * (1 - named)) / 5)
    assert of(fake.grad) == pytest.approx((1 - alpha) * made / 9)


@pytest.mark.parametrize("saturating", [False, True])
def test_the_generators_and_the_classifiers_losses_are_those_of_algorithm_1(saturating: bool) -> None:
    fake, guessed, logits = drawn(6, seed=1), drawn(6, seed=2), drawn(6, 4, seed=3)
    label = torch.tensor([0, 3, 1, 1, 2, 0])
    term = Pairs(alpha=0.3, classifier=0.7, saturating=saturating)

    def passed(x: Tensor) -> np.ndarray:
        return log_expit(-of(x)) if saturating else -log_expit(of(x))

    generator = term.generator(fake_adversarial=fake)
    assert generator.item() == pytest.approx(0.7 * passed(fake).mean(), rel=1e-10)
    classifier = term.classifier(guessed_adversarial=guessed.detach(), guessed_classifier=logits, guessed_label=label)
    probabilities = softmax(of(logits), 1)
    likely = probabilities[np.arange(6), label.numpy()]
    assert classifier.item() == pytest.approx(0.7 * 0.3 * (likely * passed(guessed)).mean(), rel=1e-10)
    # By hand: dp_y/dlogits = p_y (1[k = y] - p_k), and the discriminator's answers are constants.
    classifier.backward()
    steps = likely[:, None] * (np.eye(4)[label.numpy()] - probabilities)
    assert of(logits.grad) == pytest.approx(0.21 / 6 * passed(guessed)[:, None] * steps, rel=1e-9)


def test_confidence_is_the_entropy_of_images_and_the_cross_entropy_of_their_mean() -> None:
    logits = drawn(8, 5)
    loss = Confidence(entropy=0.3, balance=0.2).classifier(real_classifier=logits)
    p = softmax(of(logits), 1)
    expected = -0.3 * (p * log_softmax(of(logits), 1)).sum(1).mean() - 0.2 * np.log(p.mean(0)).mean()
    assert loss.item() == pytest.approx(expected, rel=1e-10)
    assert torch.autograd.gradcheck(lambda x: Confidence(balance=0.2).classifier(real_classifier=x), logits)


def test_consistency_is_the_mean_square_of_both_passes_and_moves_both() -> None:
    one, two = drawn(8, 5, seed=1), drawn(8, 5, seed=2)
    loss = Consistency().classifier(real_classifier=one, guessed_classifier=two)
    assert loss.item() == pytest.approx(((softmax(of(one), 1) - softmax(of(two), 1)) ** 2).mean(), rel=1e-10)
    loss.backward()
    assert one.grad.abs().sum() > 0
    assert two.grad.abs().sum() > 0


def test_the_consistency_rises_along_a_gaussian() -> None:
    factor = rise(iterations=80)
    assert [factor(0), factor(40), factor(80), factor(500)] == pytest.approx([math.exp(-5), math.exp(-1.25), 1, 1])

"""Training a small classifier within a score."""

from __future__ import annotations

import math
import random

import numpy as np
import pytest
import torch
from gancore_standard.classifier_training import late_steps
from gancore_standard.tools import logits_of, own_random_state, shuffled_epochs, train_classifier
from torch import Tensor, nn

from gancore import GancoreError

CPU = torch.device("cpu")


def random_stream(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_every_epoch_takes_each_image_once() -> None:
    order = shuffled_epochs(7, 5, 6, random_stream()).flatten()
    assert len(order) == 30
    for start in range(0, 28, 7):
        assert sorted(order[start : start + 7].tolist()) == list(range(7))
    assert order[:7].tolist() != order[7:14].tolist()
    assert shuffled_epochs(7, 5, 6, random_stream()).flatten().equal(order)


def test_the_global_random_state_is_restored_and_the_seed_decides() -> None:
    torch.default_generator.manual_seed(5)
    before, others = torch.get_rng_state(), (random.getstate(), str(np.random.get_state()))
    with own_random_state(CPU, 3):
        first = torch.rand(4)
    assert torch.get_rng_state().equal(before)
    assert (random.getstate(), str(np.random.get_state())) == others
    with own_random_state(CPU, 3):
        assert torch.rand(4).equal(first)


def test_the_learning_rate_falls_as_a_cosine_over_the_given_batches() -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(4, 2))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.4)
    rates: list[float] = []
    images, labels = torch.randn(8, 1, 2, 2, generator=random_stream()), torch.arange(8) % 2

    def batch(step: int) -> tuple[Tensor, Tensor]:
        rates.append(optimizer.param_groups[0]["lr"])
        return images[step : step + 4], labels[step : step + 4]

    train_classifier(model, optimizer, batch, 4, where="the training")
    assert rates == [0.4 * 0.5 * (1 + math.cos(math.pi * step / 4)) for step in range(4)]


def test_late_steps_are_those_of_ldam_drw() -> None:
    # 200 epochs of 3 steps: warm-up in the first five, a hundredth from epoch 160 on (the 161st), and again from 180 on.
    rates = [late_steps(step, 600) for step in range(600)]
    assert rates[0:15:3] == [0.2, 0.4, 0.6, 0.8, 1.0]
    assert set(rates[12:480]) == {1.0}
    assert set(rates[480:540]) == {0.01}
    assert rates[540:] == pytest.approx([1e-4] * 60)


def test_a_classifier_learns_and_is_asked_in_evaluation_mode() -> None:
    labels = torch.arange(600) % 2
    images = (labels * 255).to(torch.uint8).view(-1, 1, 1, 1).expand(-1, 1, 2, 2)
    model = nn.Sequential(nn.Flatten(), nn.Dropout(0.5), nn.Linear(4, 2))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    x = images.float() / 127.5 - 1
    train_classifier(model, optimizer, lambda _: (x, labels), 20, where="the training")
    logits = logits_of(model, images)
    assert not model.training
    assert not logits.requires_grad
    assert logits.shape == (600, 2)
    assert logits.argmax(1).equal(labels)


def test_a_training_that_diverges_is_refused() -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(4, 2))
    optimizer = torch.optim.SGD(model.parameters(), lr=1e38)
    x, labels = 100 * torch.randn(8, 1, 2, 2, generator=random_stream()), torch.arange(8) % 2
    with pytest.raises(GancoreError, match=r"the training diverges at lr = 1e\+38; set a smaller lr"):
        train_classifier(model, optimizer, lambda _: (x, labels), 6, where="the training")

"""What the method of a loss term may return, and what is said to an author of anything else."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor

import gancore
from gancore.engine.run import Run
from gancore.registry import Registry
from gancore.testing import host
from tests import hosts, probe, standin
from tests.hosts import CPU

ANSWER: list[Callable[[Tensor], Any]] = []
"""What the term of this module makes of its logits (N,)."""

SEEN: list[Tensor] = []
"""What it was handed after the step."""


class Answering(gancore.LossTerm):
    """Returns what a test wants of it."""

    def discriminator(self, *, fake_adversarial: Tensor) -> Any:
        return ANSWER[-1](fake_adversarial)

    def observe(self, *, mean: Tensor | None = None) -> None:
        SEEN[:] = [] if mean is None else [mean]


@gancore.hookimpl
def gancore_loss_terms() -> Iterator[gancore.Component]:
    yield gancore.Component("answering", f"{__name__}:Answering", "Answering")


REGISTRY = Registry.of({"standard": standin, "probe": probe, "host": host, "returned": sys.modules[__name__]})


def turn(answer: Callable[[Tensor], Any]) -> Run:
    run = Run(hosts.plan_of({"losses": {"answering": {"use": "returned/answering"}}}, plugins=REGISTRY), CPU)
    ANSWER[:] = [answer]
    run.phase("discriminator", run.fresh())
    return run


def mean(logits: Tensor) -> Tensor:
    return logits.mean()


@pytest.mark.parametrize(
    ("answer", "what"),
    [
        (lambda logits: logits, "a tensor of shape (16,)"),
        (lambda _: None, "None"),
        (lambda _: 1.5, "1.5"),
        (lambda _: float("nan"), "nan"),
        (lambda logits: [mean(logits)], "[tensor("),
        (lambda logits: (mean(logits), mean(logits)), "(tensor("),
        (lambda logits: (mean(logits), {}, {}), "(tensor("),
        (lambda logits: (logits, {"mean": mean(logits)}), "(tensor("),
        (lambda logits: {"loss": mean(logits)}, "{'loss': tensor("),
        (lambda _: torch.zeros(0), "a tensor of shape (0,)"),
    ],
)
def test_an_author_is_told_which_term_returns_no_loss(answer: Callable[[Tensor], Any], what: str) -> None:
    with pytest.raises(gancore.GancoreError) as error:
        turn(answer)
    text = str(error.value)
    assert "losses.answering" in text
    assert f"gives {what}" in text
    assert "as the loss of the discriminator; its author must return a scalar tensor" in text
    assert len(text) <= 400


def test_a_scalar_trains_with_what_is_handed_on_and_without() -> None:
    run = turn(mean)
    loss = run.losses["discriminator/answering"]
    assert SEEN == []
    other = turn(lambda logits: (mean(logits), {"mean": logits.mean()}))
    assert torch.equal(other.losses["discriminator/answering"], loss)
    assert torch.equal(SEEN[0], loss)
    assert not SEEN[0].requires_grad

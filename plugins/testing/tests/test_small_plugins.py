"""The five small plugins of the examples pass the conformance suite, and compute what their papers say."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import torch
from gancore_testing.suite import cases_of

from examples.plugins import lecam, lookahead, minibatch, momentum, square_root
from examples.plugins.lecam.term import LeCam
from examples.plugins.minibatch.head import MinibatchDeviation
from examples.plugins.momentum.attack import MomentumPGD
from examples.plugins.square_root.sampler import SquareRoot
from gancore.engine import Run
from gancore.registry import Registry
from gancore.testing import host
from tests import probe, standin
from tests.hosts import CPU, installed, plan_of, run_of, steps

MODULES = {"lecam": lecam, "minibatch": minibatch, "square-root": square_root, "momentum": momentum, "lookahead": lookahead}
REGISTRY = Registry.of({**MODULES, "host": host})


def _cases() -> Iterator[tuple[str, Callable[[], None]]]:
    with installed(REGISTRY):
        for name in MODULES:
            yield from ((f"{name}: {title}", check) for title, check in cases_of(name))


CASES = dict(_cases())


@pytest.mark.parametrize("title", CASES)
def test_conformance(title: str) -> None:
    with installed(REGISTRY):
        CASES[title]()


def test_each_of_the_five_trains_resumes_and_shares_a_batch() -> None:
    for component in ("regularization", "deviation", "square-root", "pgd", "lookahead"):
        titles = [title.split(": ", 2)[2] for title in CASES if f": {component}: " in title]
        for size in (1, 7):
            assert {f"trains at batch {size} in {precision}" for precision in ("float32", "bfloat16")} <= set(titles)
        assert {"resumes bit-exactly", "two processes compute what one does"} <= set(titles)


def test_lecam_is_its_equation_and_follows_the_averages() -> None:
    term = LeCam(decay=0.75)
    real, fake = torch.tensor([1.0, 3.0]), torch.tensor([-1.0, 0.0])
    assert term.discriminator(real_adversarial=real, fake_adversarial=fake).item() == pytest.approx((1 + 9) / 2 + 1 / 2)
    term.observe(real_adversarial=real, fake_adversarial=fake)
    assert term.real.item() == pytest.approx(0.25 * 2.0)
    assert term.fake.item() == pytest.approx(0.25 * -0.5)
    term.observe(real_adversarial=real, fake_adversarial=fake)
    assert term.real.item() == pytest.approx(0.75 * 0.5 + 0.25 * 2.0)
    expected = ((1 - term.fake) ** 2 + (3 - term.fake) ** 2) / 2 + ((-1 - term.real) ** 2 + term.real**2) / 2
    assert term.discriminator(real_adversarial=real, fake_adversarial=fake).item() == pytest.approx(expected.item())


def test_minibatch_deviation_adds_the_mean_deviation_of_the_features() -> None:
    head = MinibatchDeviation(features=2)
    with torch.no_grad():
        head.linear.weight.copy_(torch.tensor([[0.0, 0.0, 1.0]]))
        head.linear.bias.zero_()
    features = torch.tensor([[0.0, 1.0], [2.0, 5.0]])
    # Deviations 1 and 2.
    torch.testing.assert_close(head(features, torch.zeros(2, dtype=torch.int64)), torch.tensor([1.5, 1.5]))


def test_square_root_draws_a_class_by_the_root_of_its_size() -> None:
    labels = torch.tensor([0] * 16 + [1] * 4 + [2])
    weights = SquareRoot().weights(labels)
    shares = torch.stack([weights[labels == label].sum() for label in range(3)])
    torch.testing.assert_close(shares, torch.tensor([4.0, 2.0, 1.0], dtype=torch.float64))
    assert SquareRoot(power=1.0).weights(labels).unique().tolist() == [1.0]


def test_momentum_pgd_sums_normalized_gradients_within_its_box() -> None:
    slopes = torch.tensor([4.0, -2.0, 1.0, 0.5]).view(1, 1, 2, 2)
    turning = torch.where(slopes > 3, 0.01, 9.0)

    def objective(x: torch.Tensor) -> torch.Tensor:
        # The first pixel's gradient turns, to -1/4 of what it was, once it is above 0.01.
        return (torch.where(x > turning, -slopes / 4, slopes) * x).sum((1, 2, 3))

    x, noise = torch.zeros(1, 1, 2, 2), torch.Generator()
    crafted = MomentumPGD(epsilon=0.04, steps=2, momentum=1.0).craft(x, objective, noise)
    # By its sum of gradients, which is still positive, the first pixel goes on; by the newest alone it would go back.
    torch.testing.assert_close(crafted.flatten(), torch.tensor([0.04, -0.04, 0.04, 0.04]))
    alone = MomentumPGD(epsilon=0.04, steps=2, momentum=0.0).craft(x, objective, noise)
    torch.testing.assert_close(alone.flatten(), torch.tensor([0.0, -0.04, 0.04, 0.04]))
    assert float(MomentumPGD(epsilon=0.5).craft(x + 0.9, objective, noise).max()) <= 1.0


def test_lookahead_goes_half_of_the_way_every_k_iterations_for_both_players() -> None:
    plugins = Registry.of({"standard": standin, "probe": probe, "lookahead": lookahead})
    run = Run(plan_of({"loop": {"use": "lookahead/lookahead", "k": 3, "alpha": 0.25}}, plugins=plugins), CPU)
    plain = run_of()
    starts = {name: [p.detach().clone() for p in player.parameters] for name, player in run.players.items()}
    for each in (run, plain):
        steps(each, 2)
    for name, player in run.players.items():
        for ours, fast in zip(player.parameters, plain.players[name].parameters, strict=True):
            assert torch.equal(ours, fast)
    for each in (run, plain):
        steps(each, 1)
    for name, player in run.players.items():
        for start, ours, fast in zip(starts[name], player.parameters, plain.players[name].parameters, strict=True):
            torch.testing.assert_close(ours.detach(), start.lerp(fast.detach(), 0.25))

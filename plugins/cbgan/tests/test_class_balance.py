"""The class-balancing regularizer: parity with the authors' code, the paper's bound, and what it must do to rare classes."""

from __future__ import annotations

import itertools
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gancore_cbgan import class_balance
from gancore_cbgan.class_balance import ClassBalance, inverse_weights, kl_to_uniform
from scipy.optimize import brentq
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from gancore import GancoreError
from gancore.contract.settings import check

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def vectors(parity: Callable[[str], dict[str, Any]]) -> dict[str, Any]:
    return parity("cbgan_regularizer")


class NoHostSync(TorchDispatchMode):
    """Fails on any operation that reads a tensor's value on the host."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        assert not any(name in str(func) for name in ("_local_scalar_dense", "nonzero", "masked_select")), func
        return func(*args, **(kwargs or {}))


def logits(n: int, k: int, seed: int = 0, *, scale: float = 2.0) -> Tensor:
    return torch.from_numpy(np.random.default_rng(seed).normal(0, scale, (n, k)))


def with_counts(*counts: int, **settings: Any) -> ClassBalance:
    """A term whose effective counts are the given ones, by a cycle of one step that saw so many images of each class."""
    term = ClassBalance(classes=len(counts), cycle=1, momentum=1.0, first_cycle=0.0, **settings)
    label = torch.repeat_interleave(torch.arange(len(counts)), torch.tensor(counts))
    term.observe(fake_classifier=torch.eye(len(counts), dtype=torch.float64)[label])
    assert term.effective_counts.tolist() == list(counts)
    return term


def loss_and_gradient(term: ClassBalance, x: Tensor) -> tuple[Tensor, Tensor]:
    x = x.detach().requires_grad_()
    loss = term.generator(fake_classifier=x)
    (gradient,) = torch.autograd.grad(loss, x)
    return loss.detach(), gradient


# The vectors' `sum_*` use the paper's recursion N <- (1 - alpha) N + c from 50; times alpha it is the code's, from 25.
@pytest.mark.parametrize(("form", "initial", "unit"), [("convex", 50.0, 1.0), ("sum", 25.0, 0.5)], ids=["code", "paper"])
def test_four_cycles_equal_the_authors_code(vectors: dict[str, Any], form: str, initial: float, unit: float) -> None:
    cycles, steps = vectors["logits"].shape[:2]
    term = ClassBalance(classes=int(vectors["K"]), cycle=steps, initial=initial)
    np.testing.assert_allclose(term.class_weights, vectors[f"{form}_w_init"], rtol=1e-12)
    np.testing.assert_array_equal(term.effective_counts / unit, vectors[f"{form}_N_init"])
    np.testing.assert_array_equal(term.counts, vectors[f"{form}_c_init"])
    for cycle in range(cycles):
        for step in range(steps):
            x = torch.from_numpy(vectors["logits"][cycle, step])
            loss, gradient = loss_and_gradient(term, x)
            np.testing.assert_allclose(loss, vectors[f"{form}_loss"][cycle, step], rtol=1e-6)
            np.testing.assert_allclose(gradient, vectors[f"{form}_grad"][cycle, step], rtol=1e-4, atol=1e-8)
            if step == steps - 1:
                seen = (x.argmax(1)[:, None] == torch.arange(5)).sum(0)
                np.testing.assert_array_equal(term.counts + seen, vectors[f"{form}_c_before_update"][cycle])
            term.observe(fake_classifier=x)
        np.testing.assert_allclose(term.effective_counts / unit, vectors[f"{form}_N_after"][cycle], rtol=1e-9)
        np.testing.assert_allclose(term.class_weights, vectors[f"{form}_w_after"][cycle], rtol=1e-9)
        assert term.counts.count_nonzero() == 0


@pytest.mark.parametrize("normalization", ["code", "paper"])
def test_value_and_gradient_equal_the_equation_written_out_in_numpy(normalization: Any) -> None:
    counts = np.array([5000.0, 900.0, 120.0, 7.0])
    term = with_counts(5000, 900, 120, 7, normalization=normalization)
    x = logits(9, 4)
    loss, gradient = loss_and_gradient(term, x)

    frequency = counts / counts.sum()
    w = (1 / 4) / frequency if normalization == "paper" else 4 * (1 / counts) / (1 / counts).sum()
    e = np.exp(x.numpy())
    q = e / e.sum(1, keepdims=True)
    p = q.mean(0)
    np.testing.assert_allclose(loss, (w * p * np.log(p)).sum(), rtol=1e-12)
    slope = w * (1 + np.log(p))
    # dL/dp_k = w_k (1 + log p_k), carried back through the mean and the softmax.
    np.testing.assert_allclose(gradient, q * (slope - (q * slope).sum(1, keepdims=True)) / 9, rtol=1e-9, atol=1e-15)


def test_the_papers_weights_are_the_codes_times_arithmetic_over_harmonic_mean() -> None:
    counts = torch.tensor([5000, 2997, 1796, 1077, 645, 387, 232, 139, 83, 50], dtype=torch.float64)
    ratio = inverse_weights(counts, "paper") / inverse_weights(counts, "code")
    n = counts.numpy()
    np.testing.assert_allclose(ratio, np.full(10, n.mean() * (1 / n).mean()), rtol=1e-12)
    assert 6 < ratio[0] < 6.4  # About six times stronger on CIFAR-10's long tail.
    assert inverse_weights(counts, "code").mean().item() == pytest.approx(1)
    assert torch.equal(inverse_weights(torch.full((3,), 8.0), "paper"), torch.ones(3))


@pytest.mark.parametrize("normalization", ["code", "paper"])
@pytest.mark.parametrize("counts", [(400, 60, 20, 5, 1), (10, 10, 10, 10, 10)], ids=["long-tailed", "uniform"])
def test_the_minimum_is_the_papers_stationary_point_and_keeps_its_bound(normalization: Any, counts: tuple[int, ...]) -> None:
    term = with_counts(*counts, normalization=normalization)
    classes = len(counts)
    frequency = np.array(counts) / sum(counts)
    x = torch.zeros(1, classes, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([x], max_iter=500, tolerance_grad=1e-12, tolerance_change=0, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = term.generator(fake_classifier=x)
        loss.backward()
        return loss

    optimizer.step(closure)
    p = x.detach().softmax(1)[0].numpy()
    # Appendix A.1: p_k = exp(multiplier * Nhat_k - 1), the multiplier such that p sums to 1.
    multiplier = brentq(lambda value: np.exp(value * frequency - 1).sum() - 1, -1e5, 50, xtol=1e-12)
    np.testing.assert_allclose(p, np.exp(multiplier * frequency - 1), rtol=1e-4, atol=1e-7)
    bound = np.exp(-classes * (np.log(classes) - 1) * frequency - 1)  # Eq. 8
    assert (p <= bound + 1e-7).all()
    if len(set(counts)) == 1:
        np.testing.assert_allclose(bound, 1 / classes)


def test_a_uniform_prediction_is_stationary_when_no_class_was_favored() -> None:
    loss, gradient = loss_and_gradient(ClassBalance(classes=6), torch.zeros(5, 6, dtype=torch.float64))
    assert loss.item() == pytest.approx(-np.log(6))
    assert gradient.abs().max() < 1e-16
    other, _ = loss_and_gradient(ClassBalance(classes=6), logits(5, 6))
    assert other > loss


def test_the_rarer_a_class_was_the_more_its_logit_is_raised() -> None:
    term = with_counts(1000, 100, 10)
    _, gradient = loss_and_gradient(term, torch.zeros(4, 3, dtype=torch.float64))
    push = -gradient[0]
    assert push[0] < push[1] < push[2]
    x = torch.zeros(4, 3, dtype=torch.float64)
    for _ in range(200):
        x -= loss_and_gradient(term, x)[1]
    p = x.softmax(1).mean(0)
    assert p[2] > p[1] > p[0]


def test_with_two_classes_the_regularizer_does_not_favor_the_rare_one() -> None:
    # p log p falls only until p = 1/e < 1/2, so Eq. 8 bounds the frequent class from three classes on.
    _, gradient = loss_and_gradient(with_counts(100, 10), torch.zeros(4, 2, dtype=torch.float64))
    assert gradient[0, 1] > 0


def test_a_cycle_ends_after_its_steps_and_a_class_never_seen_keeps_one() -> None:
    term = ClassBalance(classes=3, cycle=2, momentum=0.75, initial=8.0, first_cycle=0.0)
    first = torch.tensor([[1.0, 0.0, 0.0]] * 4)
    term.observe(fake_classifier=first)
    assert term.effective_counts.tolist() == [8, 8, 8]
    assert term.counts.tolist() == [4, 0, 0]
    term.observe(fake_classifier=first)
    assert term.effective_counts.tolist() == [0.25 * 8 + 0.75 * 8, 2, 2]
    assert term.counts.tolist() == [0, 0, 0]
    np.testing.assert_allclose(term.class_weights, 3 * np.array([1 / 8, 1 / 2, 1 / 2]) / (1 / 8 + 1 / 2 + 1 / 2))
    for _ in range(4):
        term.observe(fake_classifier=first)
    # 2 -> 0.5 -> 0.5: held at 1.
    assert term.effective_counts.tolist()[1:] == [1, 1]


def test_counts_by_class_start_it_and_stay_within_a_long_cycle() -> None:
    counts = [10.0, 2000.0, 500.0]
    term = ClassBalance(classes=3, cycle=1000, initial_counts=counts)
    expected = 3 * (1 / np.array(counts)) / (1 / np.array(counts)).sum()
    assert term.class_weights.numpy() == pytest.approx(expected)
    for seed in range(5):
        term.observe(fake_classifier=logits(8, 3, seed))
    assert term.class_weights.numpy() == pytest.approx(expected)
    for wrong in ([1.0, 2.0], [0.0, 1.0, 1.0], [float("nan"), 1.0, 1.0]):
        with pytest.raises(GancoreError, match="initial_counts are 3 numbers"):
            ClassBalance(classes=3, initial_counts=wrong)


def test_the_weights_are_constant_within_a_cycle() -> None:
    term = ClassBalance(classes=4, cycle=3)
    seen = [term.class_weights.clone()]
    for step in range(6):
        term.observe(fake_classifier=logits(8, 4, seed=step))
        seen.append(term.class_weights.clone())
    assert [torch.equal(a, b) for a, b in itertools.pairwise(seen)] == [True, True, False, True, True, False]


def test_its_state_saved_in_the_middle_of_a_cycle_goes_on_to_the_last_bit() -> None:
    whole, first, second = (ClassBalance(classes=4, cycle=5, first_cycle=3.0) for _ in range(3))
    for step in range(14):
        whole.observe(fake_classifier=logits(8, 4, seed=step))
    for step in range(7):
        first.observe(fake_classifier=logits(8, 4, seed=step))
    second.load_state_dict(first.state_dict())
    for step in range(7, 14):
        second.observe(fake_classifier=logits(8, 4, seed=step))
    for name, value in whole.state_dict().items():
        assert torch.equal(value, second.state_dict()[name]), name
    assert set(whole.state_dict()) == {"effective_counts", "counts", "steps", "class_weights"}


def test_a_class_of_no_probability_contributes_nothing_and_keeps_the_gradient_finite() -> None:
    x = torch.tensor([[0.0, 0.0, -1e4]] * 3)
    assert x.softmax(1)[0, 2] == 0
    loss, gradient = loss_and_gradient(ClassBalance(classes=3), x)
    assert loss.item() == pytest.approx(-np.log(2), rel=1e-6)
    assert gradient.isfinite().all()


def test_one_image_and_one_class_are_enough() -> None:
    loss, gradient = loss_and_gradient(ClassBalance(classes=5), logits(1, 5))
    assert loss < 0
    assert gradient.isfinite().all()
    loss, gradient = loss_and_gradient(ClassBalance(classes=1), logits(3, 1))
    assert loss == 0
    assert gradient.count_nonzero() == 0


def test_bfloat16_logits_are_averaged_in_float32() -> None:
    x = logits(64, 10).to(torch.bfloat16)
    term = ClassBalance(classes=10)
    loss, gradient = loss_and_gradient(term, x)
    expected, expected_gradient = loss_and_gradient(term, x.double())
    assert loss.dtype == torch.float32
    assert gradient.dtype == torch.bfloat16
    assert loss.item() == pytest.approx(expected.item(), rel=1e-6)
    np.testing.assert_allclose(gradient.double(), expected_gradient, rtol=1e-2, atol=1e-6)
    term.observe(fake_classifier=x)
    assert term.counts.sum() == 512 * 10 + 64


def test_two_processes_see_the_batch_of_both(monkeypatch: pytest.MonkeyPatch) -> None:
    x = logits(12, 4)
    whole = with_counts(50, 20, 10, 1)
    loss, gradient = loss_and_gradient(whole, x)
    whole.observe(fake_classifier=x)

    halves = x[:6], x[6:]
    total = x.softmax(1).mean(0)
    counts = (x.argmax(1)[:, None] == torch.arange(4)).sum(0).double()
    monkeypatch.setattr(class_balance, "global_mean", lambda p: total + (p - p.detach()))
    monkeypatch.setattr(class_balance, "global_sum", lambda _: counts)
    gradients = []
    for half in halves:
        term = with_counts_of(50, 20, 10, 1, monkeypatch=monkeypatch)
        local_loss, local = loss_and_gradient(term, half)
        torch.testing.assert_close(local_loss, loss)
        gradients.append(local / 2)  # Gradients are averaged over the processes.
        term.observe(fake_classifier=half)
        assert torch.equal(term.effective_counts, whole.effective_counts)
    torch.testing.assert_close(torch.cat(gradients), gradient)


def with_counts_of(*counts: int, monkeypatch: pytest.MonkeyPatch) -> ClassBalance:
    with monkeypatch.context() as patch:
        patch.setattr(class_balance, "global_sum", lambda value: value)
        return with_counts(*counts)


def test_training_reads_no_value_on_the_host_and_compiles_whole() -> None:
    term = ClassBalance(classes=4, cycle=2)
    x = logits(6, 4).float().requires_grad_()
    with NoHostSync():
        for _ in range(3):
            term.generator(fake_classifier=x).backward()
            with torch.no_grad():
                term.observe(fake_classifier=x)
    compiled = torch.compile(lambda value: term.generator(fake_classifier=value), fullgraph=True, backend="eager")
    assert torch.equal(compiled(x), term.generator(fake_classifier=x))


def test_the_monitor_shows_the_effective_frequency_and_its_distance_from_uniform() -> None:
    values = with_counts(60, 30, 10).monitor()
    np.testing.assert_allclose(values["frequency"], [0.6, 0.3, 0.1])
    p = np.array([0.6, 0.3, 0.1])
    assert values["kl_to_uniform"].item() == pytest.approx((p * np.log(p * 3)).sum(), abs=1e-4)
    assert ClassBalance(classes=7).monitor()["kl_to_uniform"].item() == pytest.approx(0, abs=1e-12)


def test_the_divergence_from_uniform_equals_the_authors_code(vectors: dict[str, Any]) -> None:
    np.testing.assert_allclose(kl_to_uniform(torch.from_numpy(vectors["KL_P"])), vectors["KL"], rtol=1e-9)


def test_logits_of_another_number_of_classes_are_refused() -> None:
    term = ClassBalance(classes=10)
    for call in (term.generator, term.observe):
        with pytest.raises(GancoreError, match=r"balances 10 classes.*\(4, 7\).*set its 'classes'"):
            call(fake_classifier=torch.zeros(4, 7))


def test_its_settings_are_checked() -> None:
    built = check(ClassBalance, {"cycle": 196}, where="here", context={"classes": 10})
    assert ClassBalance(**built).cycle == 196
    for wrong, message in [
        ({"cycle": 0}, "at least 1"),
        ({"momentum": 1.5}, r"in \[0, 1\]"),
        ({"normalization": "papr"}, "did you mean 'paper'"),
        ({"initial": 0.5}, "at least 1"),
    ]:
        with pytest.raises(GancoreError, match=message):
            check(ClassBalance, wrong, where="here", context={"classes": 10})


def test_the_plugin_declares_itself_without_torch() -> None:
    (entry,) = [entry for entry in entry_points(group="gancore") if entry.name == "cbgan"]
    assert entry.value == "gancore_cbgan"
    code = (
        "import sys, gancore_cbgan; (c,) = gancore_cbgan.gancore_loss_terms(); "
        "print(c.name, c.target, c.cite, 'torch' in sys.modules)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    target = "gancore_cbgan.class_balance:ClassBalance"
    assert result.stdout.split() == ["class-balance", target, "OpenReview:yEnaS6yOkxy", "False"]

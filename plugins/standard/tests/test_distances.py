"""The mathematics of the scores: against published code's vectors, NumPy, SciPy, and closed forms."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import scipy.linalg
import torch
from gancore_standard.metrics import frechet
from gancore_standard.metrics.frechet import frechet_distance, frechet_distance_of_samples
from gancore_standard.metrics.histogram import kl_to_uniform
from gancore_standard.metrics.inception_score import inception_score
from gancore_standard.metrics.moments import Moments

from gancore import GancoreError

Parity = Callable[[str], dict[str, Any]]
Array = np.ndarray[Any, np.dtype[np.float64]]


def samples(number: int, width: int, seed: int = 0, *, scale: float = 1.0, offset: float = 0.0) -> Array:
    random = np.random.default_rng(seed)
    mixing = random.normal(size=(width, width)) / math.sqrt(width)
    return scale * random.normal(size=(number, width)) @ mixing + offset


def moments_of(x: Array) -> tuple[Array, Array]:
    return x.mean(0), np.cov(x, rowvar=False)


# -- Fréchet distance --------------------------------------------------------------------------------------------------


def test_the_distance_equals_the_published_codes(parity: Parity) -> None:
    v = parity("fid_is")
    moments = (v["mu1"], v["sigma1"], v["mu2"], v["sigma2"])
    assert frechet_distance(*moments) == pytest.approx(float(v["fid"]), rel=1e-9)
    assert frechet_distance(v["mu1"], np.zeros_like(v["sigma1"]), v["mu2"], np.zeros_like(v["sigma2"])) == pytest.approx(
        float(((v["mu1"] - v["mu2"]) ** 2).sum()), rel=1e-12
    )


def test_the_distance_to_a_covariance_of_rank_five_is_more_exact_than_the_published_codes(parity: Parity) -> None:
    v = parity("fid_is")
    distance = frechet_distance(*moments_of(v["A"]), *moments_of(v["A"][:6]))
    # The zero eigenvalues of the product come out as about 1e-16 in the published code, and their roots as 1e-8.
    assert distance == pytest.approx(float(v["fid_rankdef_6samples"]), rel=1e-7)
    # The same formula in 50 decimal digits (mpmath).
    assert distance == pytest.approx(12.269593008161543582, rel=1e-12)


@pytest.mark.parametrize(("number", "tolerance"), [(400, 1e-9), (20, 1e-5)])
def test_the_distance_equals_that_of_scipys_matrix_root(number: int, tolerance: float) -> None:
    mean_a, cov_a = moments_of(samples(400, 64, 1))
    mean_b, cov_b = moments_of(samples(number, 64, 2, scale=1.5, offset=0.3))
    assert np.linalg.matrix_rank(cov_b) == min(number - 1, 64)
    # A tiny ridge where the covariance is singular, as the published code adds: sqrtm of a singular matrix may not exist.
    ridge = 0.0 if number > 64 else 1e-13 * np.eye(64)
    root = scipy.linalg.sqrtm((cov_a + ridge) @ (cov_b + ridge))
    expected = ((mean_a - mean_b) ** 2).sum() + np.trace(cov_a + cov_b - 2 * np.real(root))
    assert frechet_distance(mean_a, cov_a, mean_b, cov_b) == pytest.approx(expected, rel=tolerance)


@pytest.mark.parametrize("zeros", [0, 20, 63, 64])
def test_the_distance_of_commuting_covariances_is_exact_whatever_their_rank(zeros: int) -> None:
    random = np.random.default_rng(3)
    rotation, _ = np.linalg.qr(random.normal(size=(64, 64)))
    a, b = random.uniform(0.5, 2, 64), random.uniform(0.5, 2, 64)
    a[:zeros] = 0
    b[zeros // 2 : zeros // 2 + zeros] = 0
    cov_a, cov_b = (rotation * a) @ rotation.T, (rotation * b) @ rotation.T
    mean_a, mean_b = random.normal(size=(2, 64))
    expected = ((mean_a - mean_b) ** 2).sum() + ((np.sqrt(a) - np.sqrt(b)) ** 2).sum()
    assert frechet_distance(mean_a, cov_a, mean_b, cov_b) == pytest.approx(expected, rel=1e-11)


@pytest.mark.parametrize("decades", [0, 3, 6, 9, 12, 15])
def test_either_factor_of_a_covariance_gives_the_exact_distance(decades: int, monkeypatch: pytest.MonkeyPatch) -> None:
    # Not commuting, so that the roots mix; the reference has 60 decimal digits.
    cov_a, cov_b = (spread_covariance(12, decades, seed) for seed in (1, 2))
    expected = exact_distance(cov_a, cov_b)
    zero = np.zeros(12)
    # Of an eigenvalue so small that float64 rounds it, the root is known to half the digits.
    tolerance = 1e-11 if decades <= 6 else 1e-7
    assert frechet_distance(zero, cov_a, zero, cov_b) == pytest.approx(expected, rel=tolerance)
    monkeypatch.setattr(frechet, "SMALLEST_PIVOT", math.inf)
    assert frechet_distance(zero, cov_a, zero, cov_b) == pytest.approx(expected, rel=tolerance)


def test_the_faster_way_is_taken_where_it_is_exact_and_only_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frechet, "MANY_FEATURES", 1)
    quick, taken = frechet._root_by_eigenvalues, []

    def noted(*arguments: Any) -> Any:
        taken.append(quick(*arguments))
        return taken[-1]

    monkeypatch.setattr(frechet, "_root_by_eigenvalues", noted)
    zero = np.zeros(12)
    used = []
    for decades in np.arange(0.5, 12.5, 0.5):
        cov_a, cov_b = (spread_covariance(12, decades, seed) for seed in (1, 2))
        distance, root = frechet_distance(zero, cov_a, zero, cov_b), taken.pop()
        if root is not None:
            used.append(decades)
            # A hundredth of what is promised.
            assert distance == pytest.approx(exact_distance(cov_a, cov_b), rel=frechet.ROUNDING / 100)
    assert used[:8] == [0.5, 1, 1.5, 2, 2.5, 3, 3.5, 4]
    assert used[-1] < 10
    cov = spread_covariance(12, 0.5, 1)
    near = cov + 1e-7 * spread_covariance(12, 0.5, 2)
    # Of sets that are alike the distance is small beside the roots' rounding; a singular one has no small error at all.
    few = np.cov(samples(8, 12, 3), rowvar=False)
    ill = spread_covariance(12, 12, 1), spread_covariance(12, 12, 2)
    for one, two in ((cov, cov), (cov, near), (cov, few), (few, cov), (few, few), ill):
        distance = frechet_distance(zero, one, zero, two)
        assert taken.pop() is None
        monkeypatch.setattr(frechet, "MANY_FEATURES", 100)
        assert distance == frechet_distance(zero, one, zero, two)
        monkeypatch.setattr(frechet, "MANY_FEATURES", 1)
    with pytest.raises(GancoreError, match="negative eigenvalue"):
        frechet_distance(zero, cov, zero, cov - 2 * np.eye(12))


def test_both_ways_agree_on_as_many_features_as_take_the_faster_one(monkeypatch: pytest.MonkeyPatch) -> None:
    a, b = samples(700, 256, 5), samples(600, 256, 6, scale=1.2, offset=0.1)
    quick = frechet_distance(*moments_of(a), *moments_of(b))
    monkeypatch.setattr(frechet, "MANY_FEATURES", 1000)
    assert quick == pytest.approx(frechet_distance(*moments_of(a), *moments_of(b)), rel=1e-9)
    assert quick != 0


def spread_covariance(width: int, decades: float, seed: int) -> Array:
    """A covariance whose eigenvalues run over so many powers of ten."""
    random = np.random.default_rng(seed)
    rotation, _ = np.linalg.qr(random.normal(size=(width, width)))
    covariance: Array = (rotation * np.logspace(0, -decades, width)) @ rotation.T
    return (covariance + covariance.T) / 2


def exact_distance(cov_a: Array, cov_b: Array) -> float:
    """tr(A + B) - 2 tr((A B)^(1/2)), by the eigenvalues of the product in 60 decimal digits."""
    mpmath = pytest.importorskip("mpmath")
    with mpmath.workdps(60):
        a, b = mpmath.matrix(cov_a.tolist()), mpmath.matrix(cov_b.tolist())
        # float64 may round a smallest eigenvalue of 1e-15 to just below 0.
        roots = [mpmath.re(mpmath.sqrt(value)) for value in mpmath.eig(a * b, left=False, right=False)]
        return float(sum(a[i, i] + b[i, i] for i in range(len(cov_a))) - 2 * sum(roots))


def test_few_samples_of_many_features_are_factored_by_their_eigenvalues() -> None:
    # Cholesky's factor of a singular matrix would bring the roots of its rounding: 1e-8 each, of 40 that are 0.
    a, b = samples(25, 64, 3), samples(30, 64, 4)
    for x in (a, b):
        factor = frechet._factor(torch.from_numpy(np.cov(x, rowvar=False)))
        assert factor.shape == (64, len(x) - 1)
    assert frechet._factor(torch.from_numpy(np.cov(samples(100, 64, 3), rowvar=False))).triu(1).abs().max() == 0


@pytest.mark.parametrize(("n", "m"), [(2, 2), (10, 40), (24, 24), (25, 9), (26, 300), (300, 300)])
def test_the_distance_of_samples_is_that_of_their_moments(n: int, m: int) -> None:
    a, b = samples(n, 24, 5), samples(m, 24, 6, scale=1.5, offset=0.3)
    assert frechet_distance_of_samples(a, b) == pytest.approx(frechet_distance(*moments_of(a), *moments_of(b)), rel=1e-9)
    assert frechet_distance_of_samples(a, torch.from_numpy(a)) == pytest.approx(0, abs=1e-12 * np.cov(a.T).trace())


@pytest.mark.parametrize(
    ("a", "b", "words"),
    [
        (np.zeros((1, 3)), np.zeros((5, 3)), r"at least two samples each.*\(1, 3\) and \(5, 3\)"),
        (np.zeros((5, 3)), np.zeros((5, 4)), "of the shapes"),
        (np.zeros(5), np.zeros((5, 4)), "of the shapes"),
        (np.full((5, 3), np.nan), np.zeros((5, 3)), "finite features"),
    ],
)
def test_samples_without_a_distance_are_refused(a: Any, b: Any, words: str) -> None:
    with pytest.raises(GancoreError, match=words):
        frechet_distance_of_samples(a, b)


def test_the_distance_in_one_dimension_is_that_of_the_closed_form() -> None:
    # (m - n)^2 + (s - t)^2 with deviations s = 2, t = 3.
    assert frechet_distance([1.0], [[4.0]], [-1.0], [[9.0]]) == pytest.approx(4 + 1, rel=1e-14)


@pytest.mark.parametrize("number", [500, 10])
def test_the_distance_of_a_set_from_itself_is_zero(number: int) -> None:
    mean, cov = moments_of(samples(number, 48, 4, offset=2.0))
    assert 0 <= frechet_distance(mean, cov, mean, cov) < 1e-12 * np.trace(cov)


def test_the_distance_is_symmetric_and_scales_with_the_square() -> None:
    a, b = moments_of(samples(100, 16, 5)), moments_of(samples(100, 16, 6, offset=1.0))
    distance = frechet_distance(*a, *b)
    assert frechet_distance(*b, *a) == pytest.approx(distance, rel=1e-12)
    tenfold = frechet_distance(10 * a[0], 100 * a[1], 10 * b[0], 100 * b[1])
    assert tenfold == pytest.approx(100 * distance, rel=1e-12)


def test_the_distance_takes_tensors_of_any_precision() -> None:
    mean, cov = torch.tensor([0.5, 1.5]), torch.eye(2)
    assert frechet_distance(mean, cov, mean + 1, cov) == pytest.approx(2.0)


E2 = np.eye(2)


@pytest.mark.parametrize(
    ("moments", "words"),
    [
        ((np.zeros(2), E2, np.zeros(3), np.eye(3)), "of one width"),
        ((np.zeros(2), E2, np.zeros(2), np.eye(3)), "of one width"),
        ((np.zeros((1, 2)), E2, np.zeros(2), E2), "of one width"),
        ((np.array([0, np.nan]), E2, np.zeros(2), E2), "finite"),
        ((np.zeros(2), E2, np.zeros(2), np.full((2, 2), np.inf)), "finite"),
        ((np.zeros(2), np.array([[1.0, 0.5], [0, 1]]), np.zeros(2), E2), "not symmetric"),
        ((np.zeros(2), E2, np.zeros(2), np.diag([1.0, -0.1])), "negative eigenvalue"),
    ],
)
def test_moments_that_are_none_are_refused(moments: tuple[Any, ...], words: str) -> None:
    with pytest.raises(GancoreError, match=words):
        frechet_distance(*moments)


# -- moments -----------------------------------------------------------------------------------------------------------


def gathered(x: Array, *sizes: int) -> tuple[Array, Array]:
    moments = Moments()
    for batch in torch.from_numpy(x).split(list(sizes)):
        moments.update(batch)
    mean, cov = moments.result()
    return mean.numpy(), cov.numpy()


@pytest.mark.parametrize("sizes", [(100,), (50, 50), (1, 98, 1), (0, 33, 67), (1,) * 100])
def test_moments_equal_numpys_however_the_samples_are_split(sizes: tuple[int, ...]) -> None:
    x = samples(100, 7, 7, offset=3.0)
    mean, cov = gathered(x, *sizes)
    np.testing.assert_allclose(mean, x.mean(0), rtol=1e-13)
    np.testing.assert_allclose(cov, np.cov(x, rowvar=False), rtol=1e-11, atol=1e-13)


def test_moments_keep_their_digits_when_the_mean_is_large() -> None:
    x = samples(300, 5, 8)
    # Powers of two, so that adding the offset rounds alike in every sample; a sum of squares would leave no digit at all.
    x = np.round(x * 2**20) / 2**20
    shifted = x + 2.0**30
    np.testing.assert_allclose(gathered(shifted, 10, 90, 200)[1], np.cov(x, rowvar=False), rtol=1e-6)


def test_moments_of_float32_are_gathered_in_float64() -> None:
    x = samples(1000, 3, 9).astype(np.float32) + np.float32(100)
    moments = Moments()
    for batch in torch.from_numpy(x).split(100):
        moments.update(batch)
    mean, cov = moments.result()
    assert mean.dtype == cov.dtype == torch.float64
    np.testing.assert_allclose(cov.numpy(), np.cov(x.astype(np.float64), rowvar=False), rtol=1e-10)


def test_asking_for_moments_changes_nothing() -> None:
    moments = Moments()
    moments.update(torch.tensor([[0.0], [2.0]]))
    mean, _ = moments.result()
    mean += 7
    moments.update(torch.tensor([[4.0]]))
    assert moments.result()[0].tolist() == [2.0]
    assert moments.result()[1].tolist() == [[4.0]]


def test_moments_of_too_few_samples_are_refused() -> None:
    moments = Moments("the real images")
    with pytest.raises(GancoreError, match="there are 0 of the real images"):
        moments.result()
    moments.update(torch.ones(1, 3))
    with pytest.raises(GancoreError, match="at least two samples, but there are 1"):
        moments.result()


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_one_value_that_is_not_finite_is_not_lost_among_the_batches(value: float) -> None:
    moments = Moments("the real images")
    moments.update(torch.tensor([[1.0, value], [0.0, 0.0]]))
    moments.update(torch.randn(50, 2, generator=torch.Generator().manual_seed(0)))
    with pytest.raises(GancoreError, match="the real images hold values that are not finite"):
        moments.result()


def test_features_of_another_width_or_no_matrix_are_refused() -> None:
    moments = Moments()
    moments.update(torch.ones(2, 3))
    with pytest.raises(GancoreError, match="from 3 to 4"):
        moments.update(torch.ones(2, 4))
    with pytest.raises(GancoreError, match=r"shape \(2, 3, 1\)"):
        moments.update(torch.ones(2, 3, 1))


@pytest.mark.parametrize("batches", [0, 1, 3])
def test_moments_go_on_from_their_state_to_the_last_bit(batches: int) -> None:
    x = torch.from_numpy(samples(40, 5, 11))
    whole, loaded = Moments(), Moments()
    for batch in x.split(10)[:batches]:
        whole.update(batch)
    state = whole.state()
    assert all(tensor.is_contiguous() for tensor in state.values())
    loaded.update(x + 7)  # forgotten
    loaded.load_state({name: tensor.clone() for name, tensor in state.items()})
    for moments in (whole, loaded):
        moments.update(x[30:])
    assert loaded.count == whole.count
    assert all(torch.equal(one, two) for one, two in zip(whole.result(), loaded.result(), strict=True))
    # A state is a copy: what comes later doesn't change it.
    assert batches == 0 or int(state["count"]) == 10 * batches


@pytest.mark.parametrize("change", ["scatter", "mean", "count", "type", "more"])
def test_a_state_of_something_else_is_refused(change: str) -> None:
    moments = Moments("the real images")
    moments.update(torch.ones(3, 2))
    state = moments.state()
    if change == "type":
        state["mean"] = state["mean"].float()
    elif change == "more":
        state["features"] = torch.ones(2)
    else:
        state[change] = torch.ones(3, dtype=torch.float64)
    with pytest.raises(GancoreError, match=r"stored moments of the real images hold .*; compute them anew"):
        Moments("the real images").load_state(state)


# -- Inception score ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("splits", [1, 5, 10])
def test_the_inception_score_equals_the_published_codes(parity: Parity, splits: int) -> None:
    v = parity("fid_is")
    # 205 samples do not divide evenly into 10 splits.
    np.testing.assert_allclose(inception_score(v["probs"], splits), v[f"IS_improvedgan_splits{splits}"], rtol=1e-9, atol=1e-12)
    if splits > 1:
        expected = v[f"IS_studiogan_splits{splits}"]
        np.testing.assert_allclose(inception_score(v["probs"], splits, unbiased=True), expected, rtol=1e-9)


def test_the_inception_score_spans_one_to_the_number_of_classes() -> None:
    assert inception_score(np.full((6, 4), 0.25), 1)[0] == pytest.approx(1)
    # Sure of every image and every class as often: the most there is; the zeros add nothing.
    assert inception_score(np.tile(np.eye(4), (3, 1)), 3) == pytest.approx((4, 0))
    # Sure of every image, but always the same class.
    assert inception_score(np.tile([[1.0, 0, 0, 0]], (5, 1)), 1)[0] == pytest.approx(1)


def test_as_many_splits_as_samples_give_the_least_score() -> None:
    assert inception_score(np.eye(4), 4) == pytest.approx((1, 0))


@pytest.mark.parametrize("splits", [0, 5])
def test_splits_that_leave_a_part_empty_are_refused(splits: int) -> None:
    with pytest.raises(GancoreError, match=f"can't split 4 samples into {splits}"):
        inception_score(np.eye(4), splits)


@pytest.mark.parametrize(
    "rows", [[[0.5, 0.6]], [[1.5, -0.5]], [[math.nan, 1.0]], [[math.inf, 0.0]], [[2.0, -1.0], [0.5, 0.5]], [0.5, 0.5], []]
)
def test_rows_that_are_no_probabilities_are_refused(rows: Any) -> None:
    with pytest.raises(GancoreError, match="The Inception score needs"):
        inception_score(rows, 1)


def test_an_unbiased_deviation_of_one_split_is_refused() -> None:
    with pytest.raises(GancoreError, match="set more splits"):
        inception_score(np.eye(2), 1, unbiased=True)


# -- class balance -----------------------------------------------------------------------------------------------------


def test_the_divergence_from_uniform_equals_the_published_codes(parity: Parity) -> None:
    v = parity("cbgan_regularizer")
    assert kl_to_uniform(v["KL_P"]) == pytest.approx(float(v["KL"]), rel=1e-9)
    # Counts and shares mean the same.
    assert kl_to_uniform(1000 * v["KL_P"]) == pytest.approx(float(v["KL"]), rel=1e-9)


def test_the_exact_divergence_runs_from_zero_to_the_logarithm_of_the_number_of_classes() -> None:
    assert kl_to_uniform([7, 7, 7], smoothing=0) == 0
    assert kl_to_uniform([0, 12, 0, 0], smoothing=0) == pytest.approx(math.log(4), rel=1e-15)
    # log 4 - H(1/2, 1/4, 1/4) by hand.
    assert kl_to_uniform([2, 1, 1, 0], smoothing=0) == pytest.approx(math.log(4) - 1.5 * math.log(2), rel=1e-14)


def test_smoothing_moves_the_divergence_by_as_little_as_it_is() -> None:
    counts = [5, 0, 3]
    assert kl_to_uniform(counts) != kl_to_uniform(counts, smoothing=0)
    assert kl_to_uniform(counts) == pytest.approx(kl_to_uniform(counts, smoothing=0), abs=2e-4)


@pytest.mark.parametrize("counts", [[0, 0], [], [1, -1], [math.nan, 1], [math.inf, 1], [[1, 2]]])
def test_counts_that_are_none_are_refused(counts: Any) -> None:
    with pytest.raises(GancoreError, match="finite class counts"):
        kl_to_uniform(counts)


def test_a_negative_smoothing_is_refused() -> None:
    with pytest.raises(GancoreError, match="at least 0, not -1"):
        kl_to_uniform([1, 2], smoothing=-1)

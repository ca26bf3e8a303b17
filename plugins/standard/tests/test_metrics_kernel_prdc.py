"""Kernel distance, and precision and recall with density and coverage: against computations written differently."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gancore_standard.metrics import prdc
from gancore_standard.metrics.frechet import FrechetDistance
from gancore_standard.metrics.kernel import KernelDistance
from gancore_standard.metrics.prdc import PrecisionRecall
from gancore_training.evaluate import Evaluator
from safetensors.torch import load_file, save_file
from scipy.spatial.distance import cdist
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from gancore import GancoreError, Metric
from gancore.contract.settings import check
from gancore.engine.batches import to_uint8, to_unit
from gancore.parallel.randomness import noise_for
from tests.compose.hosts import run_of, steps

Array = np.ndarray[Any, np.dtype[Any]]
FRACTIONS = ("precision", "recall", "coverage")


class NoHostSync(TorchDispatchMode):
    """Fails on any operation that reads a tensor's value on the host."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        assert not any(name in str(func) for name in ("_local_scalar_dense", "nonzero", "masked_select")), func
        return func(*args, **(kwargs or {}))


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def score(metric: Any, real: Tensor, fake: Tensor, batch: int = 1000) -> dict[str, float]:
    for features in real.split(batch):
        metric.update_real(features=features)
    for features in fake.split(batch):
        metric.update(features=features)
    values: dict[str, float] = metric.compute()
    return values


def mmd_by_loops(x: Array, y: Array) -> float:
    """Return the unbiased squared MMD, kernel value by kernel value."""

    def kernel(a: Array, b: Array) -> float:
        return float((math.fsum(a * b) / len(a) + 1) ** 3)

    n, m = len(x), len(y)
    within_x = math.fsum(kernel(x[i], x[j]) for i in range(n) for j in range(n) if i != j)
    within_y = math.fsum(kernel(y[i], y[j]) for i in range(m) for j in range(m) if i != j)
    across = math.fsum(kernel(a, b) for a in x for b in y)
    return within_x / (n * (n - 1)) + within_y / (m * (m - 1)) - 2 * across / (n * m)


def prdc_by_loops(real: Array, fake: Array, k: int) -> dict[str, float]:
    """Return the four values from whole distance matrices by differences, point by point, with closed balls."""
    real, fake = real.astype(np.float64), fake.astype(np.float64)
    real_radius = [sorted(np.delete(row, i))[k - 1] for i, row in enumerate(cdist(real, real))]
    fake_radius = [sorted(np.delete(row, j))[k - 1] for j, row in enumerate(cdist(fake, fake))]
    across = cdist(real, fake)
    inside_real = [[across[i, j] <= real_radius[i] for i in range(len(real))] for j in range(len(fake))]
    inside_fake = [[across[i, j] <= fake_radius[j] for j in range(len(fake))] for i in range(len(real))]
    return {
        "precision": sum(any(row) for row in inside_real) / len(fake),
        "recall": sum(any(row) for row in inside_fake) / len(real),
        "density": sum(sum(row) for row in inside_real) / (k * len(fake)),
        "coverage": sum(across[i].min() <= real_radius[i] for i in range(len(real))) / len(real),
    }


# -- kernel distance ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("mean", "scale"), [(0.0, 1.0), (0.5, 0.8), (30.0, 4.0)])
def test_the_kernel_distance_of_all_images_equals_loops_over_pairs(mean: float, scale: float) -> None:
    real, fake = noise(23, 7), mean + scale * noise(23, 7, seed=1)
    scores = score(KernelDistance(subsets=3), real, fake, batch=5)
    assert scores["kid"] == pytest.approx(mmd_by_loops(real.double().numpy(), fake.double().numpy()), rel=1e-6, abs=1e-9)
    # Every subset is the whole set.
    assert scores["kid_std"] == pytest.approx(0, abs=1e-9 * max(1, abs(scores["kid"])))


def test_the_kernel_distance_is_the_mean_and_the_sample_deviation_of_subsets_without_repeats() -> None:
    real, fake = noise(31, 5), 0.3 + noise(20, 5, seed=1)
    scores = score(KernelDistance(subsets=4, subset_size=9, seed=3), real, fake)
    draws = noise_for("cpu", 3, "kernel-distance")
    each = []
    for _ in range(4):
        chosen = [torch.randperm(number, generator=draws)[:9].numpy() for number in (31, 20)]
        assert all(len(set(places)) == 9 for places in chosen)
        each.append(mmd_by_loops(real.double().numpy()[chosen[0]], fake.double().numpy()[chosen[1]]))
    assert scores["kid"] == pytest.approx(sum(each) / 4, rel=1e-6, abs=1e-9)
    assert scores["kid_std"] == pytest.approx(float(np.std(each, ddof=1)), rel=1e-6)


def test_a_subset_is_as_large_as_the_smaller_side_where_images_are_few() -> None:
    real, fake = noise(6, 3), noise(4, 3, seed=1)
    few, many = (score(KernelDistance(subsets=5, subset_size=size), real, fake) for size in (4, 1000))
    assert few == many
    assert score(KernelDistance(), noise(2, 3), noise(2, 3, seed=1))["kid_std"] == pytest.approx(0, abs=1e-12)


def test_two_halves_of_one_distribution_are_at_about_0_from_either_side_and_another_one_is_not() -> None:
    values = [score(KernelDistance(subsets=2), noise(150, 8, seed=s), noise(150, 8, seed=s + 50))["kid"] for s in range(30)]
    assert min(values) < 0 < max(values)
    # Unbiased: the mean of the estimates is within its own error of 0.
    assert abs(np.mean(values)) < 4 * np.std(values, ddof=1) / 30**0.5
    assert score(KernelDistance(), noise(150, 8), noise(150, 8, seed=1) + 1)["kid"] > 50 * np.std(values)


def test_the_kernel_distance_is_a_function_of_features_and_seed() -> None:
    real, fake = noise(60, 4), noise(60, 4, seed=1)
    torch.manual_seed(5)
    before = torch.get_rng_state()
    first = score(KernelDistance(subset_size=20), real, fake)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(6)
    assert score(KernelDistance(subset_size=20), real, fake, batch=7) == first
    assert score(KernelDistance(subset_size=20, seed=1), real, fake)["kid"] != first["kid"]


# -- precision and recall, density and coverage ------------------------------------------------------------------------


@pytest.mark.parametrize("k", [1, 3, 5])
@pytest.mark.parametrize(("real", "fake"), [(60, 60), (41, 77), (77, 6)])
def test_precision_recall_density_and_coverage_equal_loops_over_whole_matrices(
    real: int, fake: int, k: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    a, b = noise(real, 4), 0.4 + 0.7 * noise(fake, 4, seed=1)
    expected = prdc_by_loops(a.numpy(), b.numpy(), k)
    assert score(PrecisionRecall(neighbors=k), a, b) == pytest.approx(expected, rel=1e-6)
    # An offset beside which the spread is small, and blocks of some rows, of one row and of a part of a row.
    shifted = prdc_by_loops((a + 1000).numpy(), (b + 1000).numpy(), k)
    for block in (500, 77, 1):
        monkeypatch.setattr(prdc, "BLOCK", block)
        assert score(PrecisionRecall(neighbors=k), a + 1000, b + 1000, batch=11) == pytest.approx(shifted, rel=1e-6)


def test_distances_that_tie_count_as_inside() -> None:
    # A grid of whole numbers: hundreds of distances are equal to a radius.
    grid = torch.cartesian_prod(*[torch.arange(5.0)] * 3)
    shift = torch.tensor([1.0, 0.0, 0.0])
    for k in (1, 4, 6):
        # Beside an offset of a million, float32 still holds the grid, but inner products that are not centered lose it.
        for factor, offset in ((1.0, 0.0), (1024.0, 0.0), (1.0, 1e6)):
            real, fake = factor * grid + offset, factor * (grid + shift) + offset
            expected = prdc_by_loops(real.numpy(), fake.numpy(), k)
            assert score(PrecisionRecall(neighbors=k), real, fake) == pytest.approx(expected, rel=1e-6)
    # Of 125 points, each lies in its own ball and, over the 300 edges of the grid, in those of its neighbors.
    assert score(PrecisionRecall(neighbors=1), grid, grid)["density"] == pytest.approx((125 + 2 * 300) / 125)


@pytest.mark.parametrize("width", [1, 3, 300])
def test_a_set_has_precision_recall_and_coverage_1_with_itself_whatever_its_duplicates(width: int) -> None:
    points = 7 + noise(50, width)
    for real in (points, points.repeat(3, 1), torch.cat([points, points[:1].expand(30, -1)]), torch.ones(20, width)):
        scores = score(PrecisionRecall(neighbors=2), real, real[torch.randperm(len(real))])
        assert [scores[name] for name in FRACTIONS] == [1, 1, 1]
    assert score(PrecisionRecall(), points, points)["density"] == pytest.approx(6 / 5)


def test_the_kth_neighbor_is_another_point_but_may_be_a_duplicate() -> None:
    # The nearest other point of 0 is 1 away; of the two at 10, 0 away. 0.9 lies in the balls of 0 and 1, 10.5 in none.
    real, fake = torch.tensor([[0.0], [1.0], [10.0], [10.0]]), torch.tensor([[0.9], [10.5]])
    scores = score(PrecisionRecall(neighbors=1), real, fake)
    assert scores == {"precision": 0.5, "recall": 1.0, "density": 1.0, "coverage": 0.5}


def test_far_and_disjoint_sets_have_nothing_in_common() -> None:
    scores = score(PrecisionRecall(), noise(40, 6), noise(50, 6, seed=1) + 1000)
    assert scores == {"precision": 0, "recall": 0, "density": 0, "coverage": 0}


def test_a_collapsed_generator_is_precise_and_recalls_nothing() -> None:
    real = noise(400, 2)
    scores = score(PrecisionRecall(), real, 0.01 * noise(400, 2, seed=1))
    assert scores["precision"] == 1
    assert scores["recall"] < 0.05
    assert scores["coverage"] < 0.1


def test_of_more_images_than_wanted_those_are_taken_that_lie_evenly_over_the_order() -> None:
    real, fake = noise(57, 3), noise(31, 3, seed=1)
    some = [[i * number // 20 for i in range(20)] for number in (57, 31)]
    expected = prdc_by_loops(real.numpy()[some[0]], fake.numpy()[some[1]], 2)
    assert score(PrecisionRecall(neighbors=2, samples=20), real, fake) == pytest.approx(expected, rel=1e-6)
    assert score(PrecisionRecall(samples=31), real[:31], fake) == score(PrecisionRecall(), real[:31], fake)


def test_more_real_images_after_a_score_change_their_balls() -> None:
    metric = PrecisionRecall(neighbors=2)
    real, fake = noise(30, 3), noise(30, 3, seed=1)
    score(metric, real[:20], fake)
    metric.update_real(features=real[20:])
    assert metric.compute() == pytest.approx(prdc_by_loops(real.numpy(), fake.numpy(), 2), rel=1e-6)


# -- both --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cls", [KernelDistance, PrecisionRecall])
def test_the_order_of_the_images_does_not_matter(cls: Callable[[], Any]) -> None:
    real, fake = noise(40, 5), 0.5 + noise(40, 5, seed=1)
    order = torch.randperm(40, generator=torch.Generator().manual_seed(2))
    assert score(cls(), real[order], fake.flip(0)) == pytest.approx(score(cls(), real, fake), rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("cls", [KernelDistance, PrecisionRecall])
def test_a_reset_forgets_generated_images_and_keeps_the_real_ones(cls: Callable[[], Any]) -> None:
    metric, real, fake = cls(), noise(40, 5), noise(40, 5, seed=1)
    other = score(metric, real, fake + 3)
    metric.reset()
    with pytest.raises(GancoreError, match=r"there are 0 of the generated images; give more\.$"):
        metric.compute()
    metric.update(features=fake)
    again = metric.compute()
    assert again == metric.compute() == score(cls(), real, fake) != other


@pytest.mark.parametrize(("cls", "least"), [(KernelDistance, 2), (lambda: PrecisionRecall(neighbors=3), 4)])
def test_too_few_images_or_unusable_features_are_refused_in_one_sentence(cls: Callable[[], Any], least: int) -> None:
    few, enough, where = noise(least - 1, 3), noise(least, 3), r"on the features of 'annotator'"
    with pytest.raises(GancoreError, match=f"{where}: at least {least} images .* there are 0 of the real images"):
        score(cls(), noise(0, 3), enough)
    with pytest.raises(GancoreError, match=f"{where}: .* there are {least - 1} of the generated images; give more"):
        score(cls(), enough, few)
    assert all(map(math.isfinite, score(cls(), enough, enough).values()))
    for bad in (math.nan, math.inf):
        with pytest.raises(GancoreError, match=f"{where}: .* the generated images hold values that are not finite"):
            score(cls(), enough, torch.cat([enough, torch.full((1, 3), bad)]))
        with pytest.raises(GancoreError, match=f"{where}: .* the real images hold values that are not finite"):
            score(cls(), torch.full((9, 3), bad), enough)
    with pytest.raises(GancoreError, match=f"{where}: .* have the width 3, those of the generated images 4"):
        score(cls(), enough, noise(9, 4))
    metric = cls()
    metric.update(features=enough)
    with pytest.raises(GancoreError, match="change their width from 3 to 4"):
        metric.update(features=noise(2, 4))
    for shape in ((2,), (2, 3, 4), (2, 0)):
        with pytest.raises(GancoreError, match=r"must be \(N, F\)"):
            metric.update_real(features=noise(*shape))


@pytest.mark.parametrize("cls", [FrechetDistance, KernelDistance, PrecisionRecall])
def test_kept_statistics_of_real_images_give_the_same_scores_to_the_last_bit(cls: Callable[[], Any], tmp_path: Path) -> None:
    real, fake, file = noise(40, 5), 0.3 + noise(30, 5, seed=1), tmp_path / "real.safetensors"
    seen, stored, other = cls(), cls(), noise(33, 5, seed=2)
    for features in real.split(7):
        seen.update_real(features=features)
    save_file(seen.real_state(), file)
    # What was taken in before is forgotten, and nothing is left of a score computed from it.
    score(stored, other, fake)
    stored.reset()
    stored.load_real_state(load_file(file))
    for metric in (seen, stored):
        metric.update(features=fake)
    expected = seen.compute()
    assert stored.compute() == expected
    assert expected != score(cls(), other, fake)
    # The state survives a score, and gives itself again.
    for metric in (seen, stored):
        assert all(torch.equal(tensor, load_file(file)[name]) for name, tensor in metric.real_state().items())


@pytest.mark.parametrize("cls", [FrechetDistance, KernelDistance, PrecisionRecall])
def test_the_state_of_no_image_and_that_of_another_metric(cls: Callable[[], Any]) -> None:
    metric = cls()
    assert metric.real_state() == {}
    metric.update_real(features=noise(9, 2))
    metric.load_real_state({})
    with pytest.raises(GancoreError, match="there are 0 of the real images"):
        score(metric, noise(0, 2), noise(9, 2))
    for state in ({"labels": torch.zeros(3)}, {"features": torch.zeros(3)}, {"mean": torch.zeros(3)}):
        with pytest.raises(GancoreError, match=r"of the real images hold \w+, not .*; compute them anew"):
            cls().load_real_state(state)


@pytest.mark.parametrize("cls", [KernelDistance, PrecisionRecall])
def test_feeding_never_waits_for_the_device(cls: Callable[[], Any]) -> None:
    metric = cls()
    with NoHostSync():
        for method in (metric.update, metric.update_real):
            for _ in range(2):
                method(features=noise(6, 4))


@pytest.mark.parametrize("cls", [KernelDistance, PrecisionRecall])
def test_settings_are_checked_and_protocols_can_be_stored(cls: type[Metric]) -> None:
    context = {"classes": 3, "channels": 1, "image_size": 8, "features": 4, "batch_size": 2}
    metric = cls(**check(cls, {"network": "classifier"}, where="x", context=context))
    assert metric.network == "classifier"
    assert cls().network == "annotator"
    assert all(isinstance(value, str | int | float) for value in metric.protocol().values())


@pytest.mark.parametrize(
    ("cls", "settings"),
    [
        (KernelDistance, {"subsets": 1}),
        (KernelDistance, {"subset_size": 1}),
        (KernelDistance, {"subset_size": 10.5}),
        (KernelDistance, {"seed": -1}),
        (PrecisionRecall, {"neighbors": 0}),
        (PrecisionRecall, {"samples": 1}),
    ],
)
def test_settings_out_of_range_are_refused(cls: type[Metric], settings: dict[str, Any]) -> None:
    with pytest.raises(GancoreError, match=f"^x: {next(iter(settings))} must be a whole number.*, not [^.]*[.]?[^.]*\\.$"):
        check(cls, settings, where="x", context={})


def test_as_many_neighbors_as_images_are_refused_before_any_image() -> None:
    with pytest.raises(GancoreError, match=r"by 5 neighbors need more than 5 images, but samples = 5; set"):
        PrecisionRecall(samples=5)
    PrecisionRecall(samples=6)


# -- in a run ----------------------------------------------------------------------------------------------------------

METRICS: dict[str, Any] = {
    "networks": {"annotator": {"use": "host/classifier"}},
    "metrics": {
        "kid": {"use": "standard/kid", "subsets": 3, "subset_size": 130},
        "prdc": {"use": "standard/prdc", "neighbors": 3},
    },
    "evaluation": {"samples": 130, "batch_size": 50},
}


def test_an_evaluation_scores_the_runs_images_and_repeats_to_the_last_bit() -> None:
    run = steps(run_of(METRICS), 2)
    evaluator = Evaluator(run)
    scores = evaluator()
    network, annotator = run.generator(), run.networks["annotator"]
    images = []
    for start, number in ((0, 50), (50, 50), (100, 30)):
        drawn = run.latent(number, "evaluation", 0, start)
        images.append(to_unit(to_uint8(network(drawn.z, drawn.label))))
    real, _ = run.plan.dataset.load("test")
    a, b = (annotator.embed(x).detach() for x in (to_unit(real), torch.cat(images)))
    values = score(KernelDistance(subsets=3, subset_size=130), a, b) | prdc_by_loops(a.numpy(), b.numpy(), 3)
    for name, value in scores.values.items():
        assert value == pytest.approx(values.pop(name.split("/")[1]), rel=1e-4, abs=1e-6), name
    assert not values
    assert scores.better == {
        "kid/kid": "lower",
        **{f"prdc/{name}": "higher" for name in ("precision", "recall", "density", "coverage")},
    }
    assert evaluator().values == scores.values == Evaluator(run)().values


def test_values_made_with_other_settings_have_another_protocol() -> None:
    def ids(change: dict[str, Any]) -> tuple[str, str]:
        protocols = Evaluator(run_of(METRICS, change))().protocols
        return protocols["kid"]["id"], protocols["prdc"]["id"]

    kid, prdc = ids({})
    assert ids({"run": {"iterations": 9}}) == (kid, prdc)
    kids, prdcs = {kid}, {prdc}
    for name, value in (("subsets", 4), ("subset_size", 129), ("seed", 1)):
        kids.add(ids({"metrics": {"kid": {name: value}}})[0])
    for name, value in (("neighbors", 4), ("samples", 100)):
        prdcs.add(ids({"metrics": {"prdc": {name: value}}})[1])
    assert (len(kids), len(prdcs)) == (4, 3)

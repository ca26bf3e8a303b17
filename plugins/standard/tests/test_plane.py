"""Gaussians in the plane, and the score of the modes that are covered."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from gancore_standard.datasets import GaussianGrid, GaussianRing
from gancore_standard.metrics.modes import Modes
from torch import Tensor

from gancore import GancoreError
from gancore.contract.settings import check

SETS: list[Any] = [
    GaussianRing(),
    GaussianRing(modes=1, radius=0.5, spread=0.1),
    GaussianGrid(),
    GaussianGrid(side=1, spread=0.2),
    GaussianGrid(side=2, extent=0.5, spread=0.1),
]
every_set = pytest.mark.parametrize("points", SETS, ids=[f"{type(points).__name__}{n}" for n, points in enumerate(SETS)])


def integral(points: Any, function: Any, number: int = 800, reach: float = 1.2) -> Tensor:
    """Sum of the density times a function of the place, over a grid of cells."""
    side = torch.linspace(-reach, reach, 2 * number + 1, dtype=torch.float64)[1::2]
    places = torch.cartesian_prod(side, side)
    values: Tensor = points.density(places)[:, None] * function(places)
    return values.sum(0) * (2 * reach / number) ** 2


@every_set
def test_the_density_is_that_of_the_points(points: Any) -> None:
    assert integral(points, lambda x: torch.ones(len(x), 1, dtype=torch.float64)).item() == pytest.approx(1, abs=1e-8)
    images, labels = points.load("train")
    drawn = images.flatten(1).double()
    assert images.shape == (20000, 2, 1, 1)
    assert len(points.info.class_names) == points.info.classes == len(labels.unique())

    def waves(x: Tensor) -> Tensor:
        turns = torch.tensor([[1.0, 0.0], [0.0, 2.0], [3.0, 1.0], [5.0, -5.0]], dtype=torch.float64)
        return torch.cos(math.pi * x @ turns.T)

    # Means of 20,000 cosines are off by at most some 0.005 each.
    torch.testing.assert_close(waves(drawn).mean(0), integral(points, waves), rtol=0, atol=0.025)


def test_classes_lie_where_their_names_say() -> None:
    for points, centers in (
        (GaussianRing(modes=4, radius=0.7, spread=0.01), [[0.7, 0], [0, 0.7], [-0.7, 0], [0, -0.7]]),
        (GaussianGrid(side=2, spread=0.01), [[-0.7, -0.7], [0.7, -0.7], [-0.7, 0.7], [0.7, 0.7]]),
    ):
        images, labels = points.load("test")
        classes = [images[labels == k].flatten(1) for k in range(4)]
        means = torch.stack([members.mean(0) for members in classes])
        torch.testing.assert_close(means, torch.tensor(centers).float(), rtol=0, atol=0.002)
        assert classes[0].std(0).mean().item() == pytest.approx(0.01, rel=0.05)
    assert GaussianRing(modes=3).info.class_names == ("0 degrees", "120 degrees", "240 degrees")
    assert GaussianGrid(side=2).info.class_names[1] == "column 2, row 1"


@pytest.mark.parametrize(
    ("cls", "settings"), [(GaussianGrid, {"side": 11}), (GaussianGrid, {"spread": 0}), (GaussianRing, {"modes": 0})]
)
def test_settings_out_of_range_are_refused(cls: Any, settings: dict[str, Any]) -> None:
    with pytest.raises(GancoreError, match=next(iter(settings))):
        check(cls, settings, where="data", context={})


def test_sets_that_would_leave_the_square_are_refused() -> None:
    with pytest.raises(GancoreError, match=r"extent \+ 5 spread is 1\.2, above 1; set a smaller"):
        GaussianGrid(extent=0.7, spread=0.1)


def as_images(points: list[list[float]]) -> Tensor:
    return torch.tensor(points)[:, :, None, None]


def scored(generated: list[list[float]], **settings: Any) -> dict[str, Any]:
    """Score points against modes at (0, 0) and (1, 0), whose standard deviation is 0.1; class 2 has no real point."""
    metric = Modes(classes=3, **settings)
    around = [[0.1, 0.0], [-0.1, 0.0], [0.0, 0.1], [0.0, -0.1]]
    # A mean squared distance of 0.01 in the plane is 0.005 in each dimension.
    real = [[math.sqrt(2) * x + k, math.sqrt(2) * y] for k in (0, 1) for x, y in around]
    metric.update_real(images=as_images(real[:3]), labels=torch.tensor([0, 0, 0]))
    metric.update_real(images=as_images(real[3:]), labels=torch.tensor([0, 1, 1, 1, 1]))
    metric.update(images=as_images(generated))
    assert metric.protocol()["modes"] == 2
    return metric.compute()


def test_a_good_point_lies_within_three_deviations_of_the_nearest_mode() -> None:
    assert scored([[0.29, 0.0], [0.31, 0.0]]) == {"covered": 1, "good": 0.5}
    assert scored([[0.0, 0.2], [1.0, -0.29], [0.5, 0.0], [3.0, 0.0]]) == {"covered": 2, "good": 0.5}
    assert scored([[0.5, 0.5]]) == {"covered": 0, "good": 0.0}
    assert scored([[0.29, 0.0]], deviations=2.0) == {"covered": 0, "good": 0.0}


def test_a_mode_may_ask_for_several_points() -> None:
    points = [[0.0, 0.0], [1.0, 0.0], [1.1, 0.0]]
    assert [scored(points, images=number)["covered"] for number in (1, 2, 3)] == [2, 1, 0]


@pytest.mark.parametrize("points", [GaussianRing(), GaussianGrid()])
def test_the_data_themselves_cover_every_mode(points: Any) -> None:
    metric = Modes(classes=points.info.classes)
    images, labels = points.load("test")
    metric.update_real(images=images, labels=labels)
    metric.update(images=points.load("train")[0])
    values = metric.compute()
    assert values["covered"] == points.info.classes
    # The squared distance over the variance is that of two normal numbers.
    assert values["good"] == pytest.approx(1 - math.exp(-4.5), abs=0.005)
    assert "warning" not in metric.protocol()


def test_what_does_not_fit_is_refused() -> None:
    metric = Modes(classes=2)
    metric.update(images=torch.zeros(1, 2, 1, 1))
    with pytest.raises(GancoreError, match="some of both"):
        metric.compute()
    metric.update_real(images=torch.zeros(1, 3, 1, 1), labels=torch.tensor([0]))
    with pytest.raises(GancoreError, match="real images have 3 values and generated ones 2"):
        metric.compute()
    with pytest.raises(GancoreError, match="not those of this score"):
        metric.load_real_state({"counts": torch.zeros(2)})

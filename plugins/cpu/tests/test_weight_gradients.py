"""Weight gradients of maps side by side, and of one product, are the library's: in float64, to rounding."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from gancore_cpu.gradients import FOLDED_ROW, FULL_ROW, images_in_a_row
from gancore_cpu.weight_gradients import Geometry, by_fold, by_product
from torch import Tensor
from torch.nn import functional as F

CASES: list[tuple[tuple[int, int], tuple[int, int], Geometry]] = [
    ((4, 4), (4, 4), Geometry((3, 3), (1, 1), (1, 1))),
    ((4, 4), (8, 8), Geometry((4, 4), (2, 2), (1, 1))),
    ((8, 8), (8, 8), Geometry((5, 5), (1, 1), (2, 2))),
    ((2, 2), (4, 4), Geometry((3, 3), (1, 1), (0, 0))),
    ((6, 6), (4, 4), Geometry((3, 3), (1, 1), (2, 2))),  # more padding than half a window
    ((4, 4), (9, 9), Geometry((3, 3), (2, 2), (0, 0))),
    ((3, 3), (8, 8), Geometry((3, 3), (2, 2), (0, 0))),  # a last row and column that no window sees
    ((4, 3), (4, 7), Geometry((3, 2), (1, 2), (1, 0))),  # nothing is square
    ((2, 3), (5, 9), Geometry((2, 2), (3, 3), (0, 0))),  # windows apart
    ((1, 1), (4, 4), Geometry((4, 4), (1, 1), (0, 0))),
]
"""Sizes of the small and the large maps, and the convolution between them."""


def maps(size: tuple[int, int], channels: int, number: int = 6) -> Tensor:
    return torch.randn(number, channels, *size, dtype=torch.float64)


def library(geometry: Geometry) -> Any:
    """Returns the library's weight gradient of small and large maps."""

    def gradient(small: Tensor, large: Tensor) -> Tensor:
        weight = torch.zeros(small.shape[1], large.shape[1], *geometry.kernel, dtype=large.dtype, requires_grad=True)
        out = F.conv2d(large, weight, None, geometry.stride, geometry.padding)
        assert out.shape == small.shape
        return torch.autograd.grad(out, weight, small)[0]

    return gradient


@pytest.mark.parametrize(("small_size", "large_size", "geometry"), CASES)
def test_a_product_of_matrices_is_the_weight_gradient(small_size: Any, large_size: Any, geometry: Geometry) -> None:
    small, large = maps(small_size, 5), maps(large_size, 3)
    torch.testing.assert_close(by_product(small, large, geometry), library(geometry)(small, large))


@pytest.mark.parametrize("images", [1, 2, 3, 6])
@pytest.mark.parametrize(("small_size", "large_size", "geometry"), CASES)
def test_images_side_by_side_have_the_weight_gradient(
    small_size: Any, large_size: Any, geometry: Geometry, images: int
) -> None:
    small, large = maps(small_size, 5), maps(large_size, 3)
    folded = by_fold(small, large, geometry, images, library(geometry))
    torch.testing.assert_close(folded, library(geometry)(small, large))


def test_images_fill_a_row_or_stay_as_they_are() -> None:
    assert [images_in_a_row(64, columns) for columns in (1, 2, 4, 8, 16, 32)] == [32, 16, 8, 4, 1, 1]
    assert [images_in_a_row(number, 4) for number in (63, 7, 1)] == [1, 1, 1]
    for columns in range(1, FULL_ROW):
        images = images_in_a_row(960, columns)
        assert images == 1 or images * columns >= FOLDED_ROW

"""What data sets give is held to what they declare."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch

import gancore
from gancore import DatasetInfo, GancoreError
from gancore.contract import load_split


class Given(gancore.Dataset):
    """A data set of four images that gives what it is told to."""

    def __init__(self, loaded: Any, *, continuous: bool = False) -> None:
        self.loaded = loaded
        self.continuous = continuous

    @property
    def info(self) -> DatasetInfo:
        return DatasetInfo(classes=3, channels=1, image_size=2, continuous=self.continuous)

    def load(self, split: str) -> Any:
        return self.loaded


IMAGES = torch.zeros(4, 1, 2, 2, dtype=torch.uint8)
LABELS = torch.tensor([0, 1, 2, 0])


def test_what_fits_is_given_as_it_is() -> None:
    images, labels = load_split(Given((IMAGES, LABELS)), "train")
    assert images is IMAGES
    assert labels is LABELS
    points = torch.tensor([-1.0, 1.0, 0.5, 0.0]).view(4, 1, 1, 1).expand(4, 1, 2, 2)
    assert load_split(Given((points, LABELS), continuous=True), "test")[0] is points


class Gray(gancore.Images):
    """Images that are read by index, of which nothing is read to hold them to what is declared."""

    def __init__(self, *shape: int) -> None:
        self.shape = torch.Size(shape)


def test_images_that_are_read_by_index_are_held_to_their_shape() -> None:
    images = Gray(4, 1, 2, 2)
    assert load_split(Given((images, LABELS)), "train")[0] is images
    with pytest.raises(GancoreError, match=r"has images of shape \(4, 1, 3, 2\)"):
        load_split(Given((Gray(4, 1, 3, 2), LABELS)), "train")
    with pytest.raises(GancoreError, match=r"has labels of shape \(4, 1, 2, 2\)"):
        load_split(Given((IMAGES, images)), "train")


@pytest.mark.parametrize(
    ("loaded", "problem"),
    [
        ((IMAGES, torch.tensor([0, 1, 2, 255])), "has a label of 255, not from 0 to 2"),
        ((IMAGES, torch.tensor([0, 1, 2, 3])), "has a label of 3, not from 0 to 2"),
        ((IMAGES, torch.tensor([0, 1, 2, -1])), "has a label of -1, not from 0 to 2"),
        ((IMAGES, LABELS[:3]), "has labels of shape (3,) and type torch.int64, not (4,) and torch.int64"),
        ((IMAGES[:3], LABELS), "has labels of shape (4,) and type torch.int64, not (3,) and torch.int64"),
        ((IMAGES, LABELS.int()), "has labels of shape (4,) and type torch.int32"),
        ((IMAGES, LABELS.double()), "has labels of shape (4,) and type torch.float64"),
        ((IMAGES, LABELS[:, None]), "has labels of shape (4, 1)"),
        ((IMAGES.float(), LABELS), "has images of shape (4, 1, 2, 2) and type torch.float32"),
        ((IMAGES.expand(4, 3, 2, 2), LABELS), "has images of shape (4, 3, 2, 2) and type torch.uint8, not (4, 1, 2, 2)"),
        ((IMAGES[..., :1], LABELS), "has images of shape (4, 1, 2, 1)"),
        ((IMAGES[:, 0], LABELS), "has images of shape (4, 2, 2)"),
        ((IMAGES[:0], LABELS[:0]), "holds no image"),
        ((IMAGES, LABELS, LABELS), "is no pair of tensors"),
        ((IMAGES.numpy(), LABELS.numpy()), "is no pair of tensors"),
        ((IMAGES, torch.tensor(3)), "is no pair of tensors"),
        (np.zeros(2), "is no pair of tensors"),
        (None, "is no pair of tensors"),
    ],
)
def test_what_does_not_fit_is_refused(loaded: Any, problem: str) -> None:
    with pytest.raises(GancoreError) as raised:
        load_split(Given(loaded), "test")
    assert str(raised.value).startswith("the test split of the data set Given ")
    assert problem in str(raised.value)
    assert len(str(raised.value)) <= 400


@pytest.mark.parametrize(
    ("value", "shown"), [(math.nan, "nan"), (math.inf, "inf"), (-math.inf, "-inf"), (1.5, "1.5"), (-2, "-2")]
)
def test_continuous_values_outside_the_range_are_refused(value: float, shown: str) -> None:
    images = torch.zeros(4, 1, 2, 2)
    images[2, 0, 1, 0] = value
    with pytest.raises(GancoreError, match=f"has a value of {shown}, not from -1 to 1"):
        load_split(Given((images, LABELS), continuous=True), "train")

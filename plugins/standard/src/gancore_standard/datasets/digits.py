"""scikit-learn's handwritten digits: a set that needs no download."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from gancore import Dataset, DatasetInfo, GancoreError
from gancore_standard.datasets.resizing import ImageSize, resized
from gancore_standard.datasets.splits import check_split

_TEST_EVERY = 5


class Digits(Dataset):
    """Handwritten digits of 8x8 pixels, 10 classes, that come with scikit-learn: 1442 to train, 355 to test.

    Of each class every fifth image, in the order of the set, is a test image. Gray values 0 to 16 are scaled to 0 to 255.

    Args:
        image_size: Pixels a side; other than 8, images are resized (bilinear, antialiased).
    """

    license: ClassVar[str] = "CC BY 4.0 (UCI, Optical Recognition of Handwritten Digits)"
    """What the publisher says of the use of its images, for model cards."""

    def __init__(self, *, image_size: ImageSize = 8) -> None:
        self.image_size = image_size

    @property
    def info(self) -> DatasetInfo:
        """What is known before an image is read."""
        return DatasetInfo(10, 1, self.image_size, tuple("0123456789"))

    def load(self, split: str) -> tuple[Tensor, Tensor]:
        """Return images (N, 1, image_size, image_size) uint8 and labels (N,) int64 of ``"train"`` or ``"test"``.

        Raises:
            GancoreError: scikit-learn is not installed.
        """
        check_split(split)
        try:
            from sklearn.datasets import load_digits
        except ImportError as error:
            raise GancoreError(
                'The digits come with scikit-learn, which is not installed; pip install "gancore-plugin-standard[digits]".'
            ) from error
        data = load_digits()
        labels = torch.from_numpy(np.asarray(data.target, dtype=np.int64))
        images = torch.from_numpy(np.rint(np.asarray(data.images) * (255 / 16)).astype(np.uint8)).unsqueeze(1)
        # The place of an image among those of its class.
        one_hot = torch.nn.functional.one_hot(labels, 10)
        place = (one_hot.cumsum(0) * one_hot).sum(1)
        chosen = (place % _TEST_EVERY == 0) == (split == "test")
        return resized(images[chosen], self.image_size), labels[chosen]

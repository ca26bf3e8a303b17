"""Kernel distance between the features of real and of generated images."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

import torch
from torch import Tensor

from gancore import GancoreError, Range
from gancore.tools import noise_for
from gancore_standard.metrics.features import FeatureMetric, FeatureStore, of_one_width


class KernelDistance(FeatureMetric):
    """Kernel inception distance: unbiased squared MMD, with a cubic kernel, of real and generated features.

    Binkowski et al. 2018 (arXiv:1801.01401): the kernel is ``(x.y / F + 1)^3``, the estimate is the mean over random subsets,
    equally large on both sides. Unlike the Fréchet distance it has no bias for few images, so it may be negative where the
    two sets are alike. With ``standard/inception`` as the network it is the KID; features of another classifier give another
    scale, which the protocol keeps apart. Reports ``kid``, the mean over the subsets, and ``kid_std``, their sample
    deviation: how much single subsets differ, which is next to nothing where a subset holds all images of both sides.

    A function of the features and the settings; it leaves the global random state alone. All sums are in float64.

    Args:
        network: Label of the frozen classifier whose features (N, F) are compared.
        subsets: Number of subsets, at least 2 (one has no deviation).
        subset_size: Images of either side in a subset, drawn without replacement; the smaller number of images where there
            are fewer.
        seed: Of the subsets.
    """

    better: ClassVar[Mapping[str, str]] = {"kid": "lower"}
    collector = FeatureStore

    def __init__(
        self,
        *,
        network: str = "annotator",
        subsets: Annotated[int, Range(2)] = 100,
        subset_size: Annotated[int, Range(2)] = 1000,
        seed: Annotated[int, Range(0)] = 0,
    ) -> None:
        super().__init__(network=network)
        self.subsets = subsets
        self.subset_size = subset_size
        self.seed = seed

    def protocol(self) -> dict[str, Any]:
        """Return the kernel, the subsets, the kind of deviation, and a warning of few images."""
        return {
            "kernel": "(x.y / F + 1)^3",
            "mmd": "unbiased, float64",
            "subsets": self.subsets,
            "subset_size": self.subset_size,
            "seed": self.seed,
            "deviation": "sample",
            **self.few_for_features("the distance may be far off by chance, which kid_std does not show"),
        }

    def compute(self) -> dict[str, Any]:
        """Return ``kid``, which may be just below 0, and ``kid_std``, 0 or more.

        Raises:
            GancoreError: Fewer than two images of either kind, features that are not finite, or of different widths.
        """
        try:
            real, fake = of_one_width(self._real, self._fake, least=2)
        except GancoreError as error:
            raise GancoreError(f"Kernel distance on the features of {self.network!r}: {error}") from error
        size = min(self.subset_size, len(real), len(fake))
        # Drawn on the CPU, so that the subsets are the same on every device.
        noise = noise_for("cpu", self.seed, "kernel-distance")
        estimates = []
        for _ in range(self.subsets):
            # A subset at a time becomes float64; all features at once would need three times their memory.
            x, y = (rows[torch.randperm(len(rows), generator=noise)[:size].to(rows.device)].double() for rows in (real, fake))
            estimates.append(squared_mmd(x, y))
        each = torch.stack(estimates)
        return {"kid": float(each.mean()), "kid_std": float(each.std())}


def squared_mmd(x: Tensor, y: Tensor) -> Tensor:
    """Return the unbiased estimate of the squared MMD, a scalar, with the kernel ``(x.y / F + 1)^3``.

    Gretton et al. 2012 ("A Kernel Two-Sample Test", JMLR 13): an item's kernel with itself is left out, so that equal
    distributions have the mean 0, and single estimates may be negative.

    Args:
        x: Features (N, F) in float64, N at least 2.
        y: Features (M, F) in float64, M at least 2.
    """
    within = sum(_kernel(one, one).fill_diagonal_(0).sum() / (len(one) * (len(one) - 1)) for one in (x, y))
    return within - 2 * _kernel(x, y).mean()


def _kernel(x: Tensor, y: Tensor) -> Tensor:
    return (x @ y.T).div_(x.shape[1]).add_(1).pow_(3)

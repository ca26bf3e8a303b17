"""Do the images of a sample have one label?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

import torch
from torch import Tensor

from gancore import GancoreError, Metric, Range


class SameLabel(Metric):
    """Share of generated samples whose images a classifier gives one label, and what chance would make of it.

    The paper lets a network for faces say whether two images show one person (section 3.2); here a frozen classifier says which
    label each has. ``chance`` is that share for images drawn independently, sum_c p_c^k, p_c being how often label c occurs
    among the generated images: where a generator makes few labels, samples agree by that alone.

    Args:
        network: Recipe label of the classifier.
        size: Images k of a sample.
        group_size: Images of a sample of the recipe, from core; where it is another number, the scores come with a warning.
    """

    better: ClassVar[Mapping[str, str]] = {"same": "higher"}

    def __init__(self, *, network: str = "annotator", size: Annotated[int, Range(2)] = 2, group_size: int = 0) -> None:
        self.network = network
        self.size = size
        self.others = group_size not in (0, size)
        self.reset()

    def reset(self) -> None:
        """Forget the images seen."""
        self._labels: list[Tensor] = []

    def update(self, *, logits: Tensor) -> None:
        """Take in the classifier's logits (N, K) of generated images, sample by sample."""
        self._labels.append(logits.argmax(1))

    def protocol(self) -> dict[str, Any]:
        """Return the size of a sample, and a warning where the recipe's have another."""
        warning = f"the recipe makes no samples of {self.size} images, so those that are compared have nothing in common"
        return {"size": self.size, **({"warning": warning} if self.others else {})}

    def compute(self) -> dict[str, Any]:
        """Return ``same`` and ``chance``, both in [0, 1].

        Raises:
            GancoreError: The images are no whole samples.
        """
        labels = torch.cat(self._labels) if self._labels else torch.empty(0, dtype=torch.int64)
        if not len(labels) or len(labels) % self.size:
            raise GancoreError(
                f"{len(labels)} images are no samples of {self.size}; score a recipe that makes such groups, or set size."
            )
        samples = labels.view(-1, self.size)
        shares = labels.bincount().double() / len(labels)
        same = (samples == samples[:, :1]).all(1).double().mean()
        return {"same": same.item(), "chance": shares.pow(self.size).sum().item()}

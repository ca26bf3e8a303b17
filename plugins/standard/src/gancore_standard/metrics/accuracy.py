"""Accuracy on real images of what a run trains to tell classes: a classifier, or a head of the discriminator."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor

from gancore import GancoreError, Metric
from gancore.tools import load_split, to_unit
from gancore_standard.robustness import check_trained, classifier_of, trained_classifiers

if TYPE_CHECKING:
    from gancore.tools import Run


class TestAccuracy(Metric):
    """Share of the evaluation split's images that a classifier which the run trains labels rightly, in all and by class.

    Args:
        classes: Number of classes K.
        network: Recipe label of the classifier.
    """

    __test__ = False  # not a test, whatever its name

    better: ClassVar[Mapping[str, str]] = {"accuracy": "higher"}

    def __init__(self, *, classes: int, network: str = "classifier") -> None:
        self.network: str = network
        self.classes = classes
        self.reset()

    def prepare(self, run: Run) -> None:
        """Refuse a frozen network, whose accuracy is that of all runs that share it.

        Raises:
            GancoreError: The run doesn't train the network.
        """
        check_trained(run, self.network, trained_classifiers(run))

    def reset(self) -> None:
        """Forget the images seen."""
        self._right: list[Tensor] = []
        self._labels: list[Tensor] = []

    def update_real(self, *, labels: Tensor, logits: Tensor) -> None:
        """Take in labels (N,) and the classifier's logits (N, K)."""
        self._right.append(logits.argmax(1) == labels)
        self._labels.append(labels)

    def compute(self) -> dict[str, Any]:
        """Return ``accuracy`` in [0, 1], and ``by_class``, one value per class (None for an absent one).

        Raises:
            GancoreError: No image was seen.
        """
        if not self._labels:
            raise GancoreError("the accuracy needs at least one image; the evaluation split is empty.")
        right, labels = torch.cat(self._right).double(), torch.cat(self._labels)
        hits = torch.zeros(self.classes, dtype=torch.float64, device=labels.device).index_add_(0, labels, right)
        totals = torch.bincount(labels, minlength=self.classes)
        by_class = [hit / total if total else None for hit, total in zip(hits.tolist(), totals.tolist(), strict=True)]
        return {"accuracy": right.mean().item(), "by_class": by_class}


class HeadAccuracy(Metric):
    """Share of the evaluation split's images that a class head of the discriminator labels rightly.

    The score of semi-supervised GANs whose discriminator is the classifier (Salimans et al. 2016, arXiv:1606.03498, section 5).
    Logits beyond the data's classes, those of generated images, are left out.

    Args:
        classes: Number of classes K, from core.
        head: Recipe label of the head.
    """

    better: ClassVar[Mapping[str, str]] = {"accuracy": "higher"}

    def __init__(self, *, classes: int, head: str = "classes") -> None:
        self.classes = classes
        self.head = head
        self._number = 0

    def prepare(self, run: Run) -> None:
        """Refuse a head that the run doesn't train, or one without class logits.

        Raises:
            GancoreError: It is one of those.
        """
        with classifier_of(run, self.head):
            pass

    @torch.no_grad()
    def score_run(self, run: Run) -> dict[str, Any]:
        """Return ``accuracy`` in [0, 1].

        Raises:
            GancoreError: There is no image.
        """
        settings = run.recipe.evaluation
        images, labels = load_split(run.plan.dataset, settings.split)
        self._number = len(labels)
        if not self._number:
            raise GancoreError("the accuracy needs at least one image; the evaluation split is empty.")
        with classifier_of(run, self.head) as (_, classify, _):
            starts = range(0, len(labels), settings.batch_size)
            batches = (to_unit(images[start : start + settings.batch_size].to(run.device)) for start in starts)
            guesses = [classify(batch)[:, : self.classes].argmax(1).cpu() for batch in batches]
        return {"accuracy": (torch.cat(guesses) == labels).double().mean().item()}

    def protocol(self) -> dict[str, Any]:
        """Return the head's label and the number of images of the last score."""
        return {"head": self.head, "images": self._number}

"""Samplers that choose which training images take part, and how often: long tails, few per class, balance, subsets."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from gancore import GancoreError, Grouping, Range, Sampler
from gancore_standard.groups import SameLabelGroups

Seed = Annotated[int, Range(0, 2**32 - 1)]


def long_tail_counts(
    classes: int, largest: float, ratio: float, profile: Literal["exponential", "step"] = "exponential"
) -> list[int]:
    """Return the images per class of a long-tailed set, most frequent class first.

    ``"exponential"``: n_k = floor(n_max * (1 / ratio)^(k / (K - 1))); ``"step"``: the first floor(K / 2) classes have n_max
    images and the others floor(n_max / ratio) (Cao et al. 2019, LDAM-DRW; counts as its published code computes them).

    Args:
        classes: Number of classes K, at least 1.
        largest: Images n_max of the most frequent class; need not be whole.
        ratio: Imbalance ratio n_max / n_min, at least 1.
        profile: How the counts fall.

    Returns:
        K counts; a count may be 0 where `largest` is below `ratio`.

    Raises:
        GancoreError: An argument is out of range.
    """
    if classes < 1 or not largest > 0 or not ratio >= 1:
        raise GancoreError(
            f"A long tail needs classes >= 1, largest > 0 and ratio >= 1, not classes = {classes}, largest = {largest} "
            f"and ratio = {ratio}; correct the one that is out of range."
        )
    factor = 1 / ratio
    if profile == "exponential":
        return [int(largest * factor ** (k / max(classes - 1, 1))) for k in range(classes)]
    if profile == "step":
        return [int(largest) if k < max(classes // 2, 1) else int(largest * factor) for k in range(classes)]
    raise GancoreError(f"The profile of a long tail is 'exponential' or 'step', not {profile!r}; choose one of them.")


class LongTail(Sampler):
    """Makes a balanced set long-tailed: the standard CIFAR-LT selection (Cao et al. 2019, LDAM-DRW).

    Class k keeps `long_tail_counts` images, chosen at random. With the defaults, and a set of equally large classes, the
    choice is item for item that of the published code. A class that has fewer images than the profile asks for keeps
    all of them. The choice depends on this sampler's own `seed`, not on the run's, so that runs with different seeds train
    on the same long-tailed set; the order of a class's rank is the order of its label.

    Args:
        ratio: Imbalance ratio n_max / n_min, at least 1; 1 keeps the set balanced.
        profile: ``"exponential"``, or ``"step"``: half of the classes frequent, half rare.
        order: ``"label"`` makes class 0 the most frequent, ``"reversed"`` the last class.
        n_max: Images of the most frequent class; by default the mean number of images per class.
        seed: Seed of the choice.
    """

    def __init__(
        self,
        *,
        ratio: Annotated[float, Range(1)] = 100.0,
        profile: Literal["exponential", "step"] = "exponential",
        order: Literal["label", "reversed"] = "label",
        n_max: Annotated[int, Range(1)] | None = None,
        seed: Seed = 0,
    ) -> None:
        super().__init__()
        if not ratio >= 1:
            raise GancoreError(f"The ratio of a long tail must be at least 1, not {ratio}; it is n_max / n_min.")
        self.ratio = ratio
        self.profile = profile
        self.order = order
        self.n_max = n_max
        self.seed = seed

    def select(self, labels: Tensor, seed: int) -> Tensor:
        """Return the indices (M,) int64 into `labels` (N,) of the long-tailed set, class by class in ascending order."""
        members = list(_members(labels))
        if not members:
            return torch.empty(0, dtype=torch.int64)
        largest = self.n_max if self.n_max is not None else len(labels) / len(members)
        counts = long_tail_counts(len(members), largest, self.ratio, self.profile)
        if self.order == "reversed":
            counts.reverse()
        # One stream over all classes in ascending order, as np.random.seed(0) and np.random.shuffle give it.
        noise = np.random.RandomState(self.seed)
        return _joined([_shuffled(items, noise)[:count] for (_, items), count in zip(members, counts, strict=True)])


class PerClass(Sampler):
    """Keeps the same number of images of every class, chosen at random: few-shot and low-data training.

    Args:
        count: Images per class.
        seed: Seed of the choice; by default the run's, so that runs with different seeds train on different images.
    """

    def __init__(self, *, count: Annotated[int, Range(1)], seed: Seed | None = None) -> None:
        super().__init__()
        if count < 1:
            raise GancoreError(f"The count of images per class must be at least 1, not {count}.")
        self.count = count
        self.seed = seed

    def select(self, labels: Tensor, seed: int) -> Tensor:
        """Return the indices (K * count,) int64 into `labels` (N,), class by class in ascending order.

        Raises:
            GancoreError: A class has fewer images.
        """
        noise = np.random.RandomState((seed if self.seed is None else self.seed) % 2**32)
        chosen = []
        for label, items in _members(labels):
            if len(items) < self.count:
                raise GancoreError(
                    f"Class {label} has only {len(items)} images, but count = {self.count} images per class are asked for; "
                    "lower count."
                )
            chosen.append(_shuffled(items, noise)[: self.count])
        return _joined(chosen)


class ClassBalanced(Sampler):
    """Draws every class equally often, by drawing the images of rare classes more often. It leaves no image out."""

    def weights(self, labels: Tensor) -> Tensor:
        """Return 1 / n_y for each image (N,) float64, where n_y is the number of images of its class."""
        counts = torch.bincount(labels) if len(labels) else torch.ones(1)
        return counts.double().reciprocal()[labels]


class TakeClasses(Sampler):
    """Keeps the images of some classes only; their labels stay as they are.

    Args:
        keep: The classes to keep.
        classes: Number of classes of the set, where it is known.
    """

    def __init__(self, *, keep: list[int], classes: int | None = None) -> None:
        super().__init__()
        if not keep:
            raise GancoreError("keep names no class; list at least one.")
        for label in keep:
            if label < 0 or (classes is not None and label >= classes):
                known = f"0 to {classes - 1}" if classes is not None else "0 and up"
                raise GancoreError(f"keep names class {label}, but the classes are {known}; correct the list.")
        self.keep = list(keep)

    def select(self, labels: Tensor, seed: int) -> Tensor:
        """Return the indices (M,) int64 into `labels` (N,) of the classes to keep, in ascending order.

        Raises:
            GancoreError: There is no image of one of them.
        """
        present = torch.unique(labels).tolist()
        for label in self.keep:
            if label not in present:
                raise GancoreError(f"keep names class {label}, but there is no image of it (classes found: {present}).")
        return torch.isin(labels, torch.tensor(self.keep)).nonzero().flatten()


class SameLabel(Sampler):
    """Draws several images of one label as one sample (N, k, C, H, W); one that is alone with its label is repeated.

    Networks must say that they take such groups; a score counts each image of a generated group.

    Args:
        size: Images k of a sample: 2 for pairs, 3 for triplets.
    """

    def __init__(self, *, size: Annotated[int, Range(2)] = 2) -> None:
        super().__init__()
        self.group = size

    def grouping(self, labels: Tensor, weights: Tensor | None) -> Grouping:
        """Return what makes of each image a group of its label."""
        return SameLabelGroups(labels, weights, self.group)


def _members(labels: Tensor) -> Iterator[tuple[int, npt.NDArray[np.int64]]]:
    """Yield each class that occurs, ascending, with the indices of its images, ascending."""
    array = labels.cpu().numpy()
    for label in np.unique(array):
        yield int(label), np.flatnonzero(array == label).astype(np.int64)


def _shuffled(items: npt.NDArray[np.int64], noise: np.random.RandomState) -> npt.NDArray[np.int64]:
    noise.shuffle(items)
    return items


def _joined(chosen: list[npt.NDArray[np.int64]]) -> Tensor:
    return torch.from_numpy(np.concatenate(chosen)) if chosen else torch.empty(0, dtype=torch.int64)

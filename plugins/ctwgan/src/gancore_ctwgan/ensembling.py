"""Temporal ensembling: consistency with the average of what was said of an image in earlier epochs."""

from __future__ import annotations

from typing import Annotated

import torch
from torch import Tensor
from torch.nn import functional as F

import gancore

Weight = Annotated[float, gancore.Range(0)]

PROBES = 8
"""Places in the memory where an image may be."""


class TemporalEnsembling(gancore.LossTerm):
    """The classes of a real image are near the average of what they were (Laine and Aila 2017; Wei et al. 2018, section 2.3).

    With logits s and features h of a pass, and their averages S and H over all earlier passes of the same image, with weights
    that fall by `decay` with every pass and add up to 1, as in the authors' code for CIFAR-10::

        E max(0, strength [mean_k (softmax(s) - softmax(S))_k^2 + features mean_f (h - H)_f^2] - margin)

    An image that has not been seen yet adds nothing (the code has logits of 0 for its average). Images are known again by what
    they are before anything is done to them, so that each of the two that a flip makes of one has an average of its own, and
    random crops are never seen again.

    Args:
        classes: Number of classes K, from core.
        strength: lambda_2.
        features: Weight of the features' distance.
        width: Width F of the discriminator's features, where these are to be remembered; 0 leaves them out.
        decay: What is left of an average's weights after a pass.
        margin: M'.
        slots: Images that the memory has room for; some find no place when it is more than two thirds full.
    """

    def __init__(
        self,
        *,
        classes: int,
        strength: Weight = 1.0,
        features: Weight = 0.1,
        width: Annotated[int, gancore.Range(0)] = 0,
        decay: Annotated[float, gancore.Range(0, 0.9999)] = 0.6,
        margin: Weight = 0.0,
        slots: Annotated[int, gancore.Range(PROBES, 2**24)] = 2**17,
    ) -> None:
        super().__init__()
        self.classes = classes
        self.strength = strength
        self.features = features
        self.decay = decay
        self.margin = margin
        self.width = width
        self.keys: Tensor
        self.register_buffer("keys", torch.zeros(slots, dtype=torch.int64))
        self.passes: Tensor
        self.register_buffer("passes", torch.zeros(slots))
        self.averages: Tensor
        self.register_buffer("averages", torch.zeros(slots, classes + width))

    def discriminator(self, *, real: Tensor, real_classes: Tensor, real_features: Tensor) -> Tensor:
        """Return the scalar term.

        Args:
            real: Images (N, C, H, W), by which they are known again.
            real_classes: Logits (N, K).
            real_features: Features (N, F).

        Raises:
            GancoreError: The features are not `width` wide, or the logits not those of K classes.
        """
        rows = self._rows(real_classes, real_features)
        place, known, _ = self._look_up(fingerprints(real))
        # The weights (1 - decay) decay^i of t passes add up to 1 - decay^t.
        target = self.averages[place] / (1 - self.decay ** self.passes[place].clamp_min(1))[:, None]
        logits, targets = rows[:, : self.classes], target[:, : self.classes]
        both = (logits.softmax(1) - targets.softmax(1)).square().mean(1)
        if self.width:
            both = both + self.features * (rows - target)[:, self.classes :].square().mean(1)
        return (known * F.relu(self.strength * both - self.margin)).mean()

    def observe(self, *, real: Tensor, real_classes: Tensor, real_features: Tensor) -> None:
        """Take a pass into the averages of its images."""
        keys, rows = gancore.gather(fingerprints(real)), gancore.gather(self._rows(real_classes, real_features))
        place, known, free = self._look_up(keys)
        old, passes = self.averages[place], self.passes[place]
        start = known.to(passes.dtype)
        new = self.decay * start[:, None] * old + (1 - self.decay) * rows
        last = _last_at(place, known | free)
        # Where no image has found a place, what is there is written again.
        taken, writer = last >= 0, last.clamp_min(0)
        self.averages[place] = torch.where(taken[:, None], new[writer], old)
        self.passes[place] = torch.where(taken, (start * passes + 1)[writer], passes)
        self.keys[place] = torch.where(taken, keys[writer], self.keys[place])

    def _rows(self, classes: Tensor, features: Tensor) -> Tensor:
        if classes.shape[1] != self.classes or self.width not in (0, features.shape[1]):
            raise gancore.GancoreError(
                f"temporal ensembling is set for {self.classes} classes and features of width {self.width}, but the "
                f"discriminator gives {classes.shape[1]} and {features.shape[1]}; correct its width, or set it to 0."
            )
        return torch.cat([classes, features], 1) if self.width else classes

    def _look_up(self, keys: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return each image's place (N,), whether it is there, and whether the place is free for it."""
        places = (keys[:, None] + torch.arange(PROBES, device=keys.device)) % len(self.keys)
        there, free = self.keys[places] == keys[:, None], self.keys[places] == 0
        known = there.any(1)
        chosen = torch.where(known, there.int().argmax(1), free.int().argmax(1))[:, None]
        return places.gather(1, chosen).squeeze(1), known, free.gather(1, chosen).squeeze(1)


def _last_at(place: Tensor, taken: Tensor) -> Tensor:
    """Return for each of N images the last one that takes its place (N,), or -1 where none does.

    Several images of a batch may want one place: all of them shall write what one of them has, on any device.
    """
    order = torch.arange(len(place), device=place.device)
    return torch.where((place[:, None] == place) & taken, order, -1).amax(1)


def fingerprints(images: Tensor) -> Tensor:
    """Return a number (N,) int64 above 0 for each image (N, ...) float32, the same for the same image on any device."""
    bits = images.detach().contiguous().view(torch.int32).flatten(1).long()
    position = torch.arange(1, bits.shape[1] + 1, device=bits.device)
    # Products and sums of 64 bits wrap around, alike everywhere.
    mixed = ((bits ^ (position * 0x9E3779B97F4A7C1)) * (position * 0x3F58476D1CE4E5B9 | 1)).sum(1)
    mixed = (mixed ^ (mixed >> 31)) * 0x14D049BB133111EB
    return ((mixed ^ (mixed >> 29)) & (2**62 - 1)) + 1

"""The losses of labeler and anti-labeler (Kocaoglu et al. 2018, section 5.1)."""

from __future__ import annotations

from typing import Annotated

import torch
from torch import Tensor
from torch.nn import functional as F

from gancore import GancoreError, LossTerm, Range
from gancore_causalgan.networks import some

Smoothing = Annotated[float, Range(0, 0.5, open_high=True)]
LEAST = 1e-6
"""The least smoothing of flipped roles: of a smaller one float32 leaves too little beside 1."""

Decay = Annotated[float, Range(0)]


class _Agreement(LossTerm):
    """How far logits (N, A) are from attributes (N, A): binary cross entropy, in the paper's roles or in the code's.

    Args:
        attributes: Number of attributes A, from core.
        smoothing: What an attribute of 0 is to a labeler, and what one of 1 lacks to 1; the code has 0.3.
        flipped: For generated images the code's roles: the labeler's sigmoid is the target, the attribute the prediction.

    Raises:
        GancoreError: The data have no attributes; or flipped roles without smoothing, whose loss would be infinite.
    """

    def __init__(self, *, attributes: int = 0, smoothing: Smoothing = 0.0, flipped: bool = False) -> None:
        super().__init__()
        some(attributes)
        if flipped and smoothing < LEAST:
            raise GancoreError(
                f"flipped roles need a smoothing of at least {LEAST:g}, e.g. 0.3, for the logarithm of an attribute of 0."
            )
        self.smoothing, self.flipped = smoothing, flipped

    def _target(self, label: Tensor, dtype: torch.dtype) -> Tensor:
        return self.smoothing + (1 - 2 * self.smoothing) * label.to(dtype)

    def _plain(self, logits: Tensor, label: Tensor) -> Tensor:
        return F.binary_cross_entropy_with_logits(logits, self._target(label, logits.dtype))

    def _of_generated(self, logits: Tensor, label: Tensor) -> Tensor:
        if not self.flipped:
            return self._plain(logits, label)
        prediction = torch.logit(self._target(label, logits.dtype))
        return F.binary_cross_entropy_with_logits(prediction, logits.sigmoid())


class Labeler(_Agreement):
    """The labeler learns the attributes of real images, and the generator makes images that it labels as asked.

    L_labeler = BCE(Labeler(x), l) on real images; L_G = BCE(Labeler(G(z, l)), l). It also trains a classifier alone.

    Args:
        attributes: Number of attributes A, from core.
        smoothing: What an attribute of 0 is to a labeler, and what one of 1 lacks to 1; the code has 0.3.
        flipped: For generated images the code's roles: the labeler's sigmoid is the target, the attribute the prediction.
    """

    def labeler(self, *, real_labeler: Tensor, real_label: Tensor) -> Tensor:
        """Return the labeler's scalar, of logits (N, A) and attributes (N, A)."""
        return self._plain(real_labeler, real_label)

    def classifier(self, *, real_classifier: Tensor, real_label: Tensor) -> Tensor:
        """Return the scalar of a labeler that is trained by itself."""
        return self._plain(real_classifier, real_label)

    def generator(self, *, fake_labeler: Tensor, fake_label: Tensor) -> Tensor:
        """Return the generator's scalar."""
        return self._of_generated(fake_labeler, fake_label)


class AntiLabeler(_Agreement):
    """The anti-labeler learns the attributes of generated images, and the generator keeps it from doing so.

    L_anti-labeler = BCE(AntiLabeler(G(z, l)), l); L_G = -exp(-t / decay) of it at iteration t. Without it the generator would
    make for each combination of attributes what the labeler finds easiest, and nothing else.

    Args:
        attributes: Number of attributes A, from core.
        smoothing: As the labeler's.
        flipped: As the labeler's; the anti-labeler's own loss has them too.
        decay: Iterations in which the generator's weight falls by a factor of e. The code has 3,000 of its steps, each with two
            updates of the generator: as many as 1,000 iterations of the loop have with its six. 0 keeps it, as the paper does.
    """

    def __init__(
        self, *, attributes: int = 0, smoothing: Smoothing = 0.0, flipped: bool = False, decay: Decay = 1000.0
    ) -> None:
        super().__init__(attributes=attributes, smoothing=smoothing, flipped=flipped)
        self.decay = decay

    def antilabeler(self, *, fake_antilabeler: Tensor, fake_label: Tensor) -> Tensor:
        """Return the anti-labeler's scalar, of logits (N, A) and attributes (N, A)."""
        return self._of_generated(fake_antilabeler, fake_label)

    def generator(self, *, fake_antilabeler: Tensor, fake_label: Tensor, iteration: Tensor) -> Tensor:
        """Return the generator's scalar, at most 0."""
        weight = torch.exp(-iteration / self.decay) if self.decay else 1.0
        return -weight * self._of_generated(fake_antilabeler, fake_label)

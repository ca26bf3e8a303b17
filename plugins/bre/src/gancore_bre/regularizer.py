"""The regularizer: patterns of D's hidden units, each unit on for half of a batch, no two images alike (arXiv:1805.03644)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal

import torch
from torch import Tensor
from torch.nn import functional as F

import gancore

SOFTNESS = 1e-3
"""Of a unit's sign, in units of its layer's mean magnitude (section 3.4)."""


def signs(preactivations: Tensor) -> Tensor:
    """Return the soft signs (B, d) of pre-activations (B, ...) of all processes, of which the caller has (N, ...).

    ``h / (|h| + eps)``, eps being 1e-3 of the mean of |h| over the layer and the batch, through which no gradient goes (section
    3.4), so that the scale of a layer does not matter.
    """
    h = preactivations.flatten(1)
    h = h.to(torch.promote_types(h.dtype, torch.float32))
    magnitude = h.abs()
    softness = SOFTNESS * gancore.global_mean(magnitude.detach().mean())
    # A layer that is 0 everywhere has no sign and no scale.
    return gancore.gather(h / (magnitude + softness).clamp_min(torch.finfo(h.dtype).tiny))


def marginal_entropy(pattern: Tensor) -> Tensor:
    """Return R_ME of soft signs (B, d), a scalar in [0, 1]: the mean square of each unit's mean (section 3.1)."""
    return pattern.mean(0).square().mean()


def activation_correlation(pattern: Tensor, margin: float = 3.0) -> Tensor:
    """Return R_AC of soft signs (B, d), a scalar in [0, 1]: how alike the patterns of two images are (section 3.1).

    The mean of max(0, |a_i . a_j| / d - margin / sqrt(d)) over all pairs of the batch, an image and itself counting as 0, as in
    the authors' code; the paper leaves those out, which is B / (B - 1) times as much.
    """
    number, units = pattern.shape
    excess = F.relu((pattern @ pattern.T).abs() / units - margin / units**0.5)
    return (excess.sum() - excess.diagonal().sum()) / number**2


class Entropy(gancore.LossTerm):
    """BRE on generated images: L_D gets R_ME + R_AC of D's hidden layers, the mean over layers (arXiv:1805.03644, section 3.1).

    The paper adds it on generated images and between them and real ones (`EntropyBetween`), with weight 1 that falls to 0.

    Args:
        layers: Which hidden layers, by their places from 0 at the image. By default all but the last, as in the paper; the
            public code leaves out the first too.
        margin: Multiple of 1 / sqrt(d) up to which two patterns of d units may be alike; chance patterns are within 3.
    """

    mean_over_images = False

    def __init__(self, *, layers: list[int] | None = None, margin: Annotated[float, gancore.Range(0)] = 3.0) -> None:
        super().__init__()
        if layers is not None and (not layers or min(layers) < 0):
            raise gancore.GancoreError(f"layers = {layers} names no hidden layers; name them by their places, from 0.")
        self.layers = layers
        self.margin = margin

    def discriminator(self, *, fake_preactivations: list[Tensor]) -> Tensor:
        """Return the scalar R_ME + R_AC for the inputs (N, ...) of D's activation functions, a list from the image on."""
        return self.entropy(fake_preactivations)

    def entropy(self, preactivations: list[Tensor]) -> Tensor:
        """Return the mean of R_ME + R_AC over the layers.

        Raises:
            GancoreError: The discriminator has no such hidden layer.
        """
        places = range(len(preactivations) - 1) if self.layers is None else self.layers
        if not places or max(places) >= len(preactivations):
            raise gancore.GancoreError(
                f"binarized representation entropy is of the hidden layers {list(places) or 'before the last'}, and the "
                f"discriminator has {len(preactivations)}; set 'layers' to places below that, or choose a deeper discriminator."
            )
        patterns = [signs(preactivations[place]) for place in places]
        total = sum(
            (marginal_entropy(pattern) + activation_correlation(pattern, self.margin) for pattern in patterns),
            start=torch.zeros((), device=patterns[0].device),
        )
        return total / len(patterns)


class EntropyBetween(Entropy):
    """BRE between each real image and the generated one at its place (arXiv:1805.03644, section 3.6), as `Entropy`.

    Args:
        layers: Which hidden layers, as for `Entropy`.
        margin: As for `Entropy`.
        points: On the line between the two, x + a (G(z) - x) with a ~ U(0, 1) for each pair (the paper), or beyond the real
            image, x + a (x - G(z)) (the public code).
    """

    extra_views: ClassVar[Mapping[str, str]] = {"mixed": "interpolate"}
    groups: ClassVar[bool] = True

    def __init__(
        self,
        *,
        layers: list[int] | None = None,
        margin: Annotated[float, gancore.Range(0)] = 3.0,
        points: Literal["between", "beyond"] = "between",
    ) -> None:
        super().__init__(layers=layers, margin=margin)
        self.direction = 1.0 if points == "beyond" else -1.0

    def interpolate(self, *, real_view: Tensor, fake_view: Tensor, noise: torch.Generator) -> Tensor:
        """Return a point (N, C, H, W), or (N, k, C, H, W), for each pair; beyond the real one it may leave [-1, 1]."""
        share = gancore.rand((len(real_view), *[1] * (real_view.ndim - 1)), noise, dtype=real_view.dtype)
        return real_view + self.direction * share * (real_view - fake_view)

    def discriminator(self, *, mixed_preactivations: list[Tensor]) -> Tensor:  # type: ignore[override]
        """Return the scalar R_ME + R_AC for the inputs (N, ...) of D's activation functions, a list from the image on."""
        return self.entropy(mixed_preactivations)

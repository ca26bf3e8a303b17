"""The samplers that make any GAN seek the difference of two distributions."""

from __future__ import annotations

from collections.abc import Collection
from typing import Annotated, Literal

import attrs
import torch
from torch import Tensor

import gancore


class Wide(gancore.Sampler):
    """Calls a wide distribution real: the paper's p_d with a bar, made of the recipe's data (DSGAN, section 4).

    Args:
        wide: What it is: the data as they are; the data with normal or uniform noise; or, for each image x of the data, a
            blend b x' + (1 - b) x with an image x' of the source `partner`, b ~ U(0, beta), in the space that the
            discriminator sees (Eq. 8; the authors' code draws b so, and the paper's x' is a labeled image).
        scale: Of the noise, images in [-1, 1]: standard deviation of the normal one, half the range of the uniform one.
        beta: Largest share b of the partner in a blend, in [0, 1].
        partner: Label of the source that gives x' of a blend.
        bounded: Keep images with noise in [-1, 1], as far as a generator that ends in tanh reaches; the paper doesn't say.
    """

    def __init__(
        self,
        *,
        wide: Literal["data", "normal", "uniform", "blend"] = "data",
        scale: Annotated[float, gancore.Range(0)] = 0.1,
        beta: Annotated[float, gancore.Range(0, 1)] = 0.3,
        partner: str = "partner",
        bounded: bool = False,
    ) -> None:
        super().__init__()
        self.wide = wide
        self.scale = scale
        self.bounded = bounded
        self.beta = beta
        self.partner = partner
        self.blends: Collection[str] = ("real",) if wide == "blend" else ()

    def reads(self) -> tuple[str, ...]:
        """Return the labels of the sources that it draws from."""
        return (self.partner,) if self.wide == "blend" else ()

    def draw(self, batch: gancore.Drawn, noise: torch.Generator) -> gancore.Drawn:
        """Return the batch with its real images made wide.

        Args:
            batch: With N images of the data and N of each source.
            noise: For the noise or the blend.
        """
        if self.wide == "blend":
            share = 1 - self.beta * torch.rand(len(batch.real), generator=noise, device=batch.real.device)
            return attrs.evolve(batch, blended={**batch.blended, "real": (batch.sides[self.partner][0], share)})
        if self.wide == "data":
            return batch
        return attrs.evolve(batch, real=noisy(batch.real, self.wide, self.scale, noise, bounded=self.bounded))


class Difference(Wide):
    """Calls a wide distribution real, and a mixture of generated images and of data to avoid fake (DSGAN, Eq. 1, appendix C).

    Write p_d for the data to avoid, p_w for the wide distribution (the paper's p_d with a bar) and p_g for what is generated.
    The game's optimum has (1 - alpha) p_g + alpha p_d = p_w where that can be (Theorem 1): images of p_w that p_d lacks.
    p_d is the recipe's source `avoid`; p_w is made of the recipe's data, and of the source `partner` where it is a blend.

    The fake minibatch holds floor(alpha N) images of p_d in place of as many generated ones (appendix C). For Eq. 2's
    expectation over both, a recipe takes `Wide` in place of this sampler, and the discriminator's losses twice: with the weight
    1 - alpha as they are, and with the weight alpha and ``reads = {fake = "avoid"}``.

    Args:
        alpha: Share of p_d in the mixture, in [0, 1).
        wide: See `Wide`.
        scale: See `Wide`.
        beta: See `Wide`.
        avoid: Label of the source that gives p_d.
        partner: See `Wide`.
        bounded: See `Wide`.
    """

    joins = ("fake",)

    def __init__(
        self,
        *,
        alpha: Annotated[float, gancore.Range(0, 1, open_high=True)] = 0.8,
        wide: Literal["data", "normal", "uniform", "blend"] = "data",
        scale: Annotated[float, gancore.Range(0)] = 0.1,
        beta: Annotated[float, gancore.Range(0, 1)] = 0.3,
        avoid: str = "avoid",
        partner: str = "partner",
        bounded: bool = False,
    ) -> None:
        super().__init__(wide=wide, scale=scale, beta=beta, partner=partner, bounded=bounded)
        self.alpha = alpha
        self.avoid = avoid

    def reads(self) -> tuple[str, ...]:
        """Return the labels of the sources that it draws from."""
        return (self.avoid, *super().reads())

    def draw(self, batch: gancore.Drawn, noise: torch.Generator) -> gancore.Drawn:
        """Return the batch with its real images made wide, and with images to avoid joined to the generated ones.

        Args:
            batch: With N images of the data and N of each source.
            noise: For the noise or the blend.
        """
        images, labels = batch.sides[self.avoid]
        # As many as the public code takes: the product rounded down, saved from 0.7 * 10 = 6.999...
        number = int(self.alpha * len(batch.real) + 1e-9)
        batch = attrs.evolve(batch, joined={**batch.joined, "fake": (images[:number], labels[:number])})
        return super().draw(batch, noise)


class Noise(gancore.Sampler):
    """Adds noise to the real images, the second baseline of section 5.2, or to a source's.

    Args:
        kind: Normal or uniform noise.
        scale: Images in [-1, 1]: standard deviation of the normal noise, half the range of the uniform one.
        source: Label of the source whose images get the noise; the real ones where it is empty.
        bounded: Keep the images in [-1, 1]; see `Wide`.
    """

    def __init__(
        self,
        *,
        kind: Literal["normal", "uniform"] = "uniform",
        scale: Annotated[float, gancore.Range(0)] = 0.1,
        source: str = "",
        bounded: bool = False,
    ) -> None:
        super().__init__()
        self.kind: Literal["normal", "uniform"] = kind
        self.scale = scale
        self.bounded = bounded
        self.source = source

    def reads(self) -> tuple[str, ...]:
        """Return the label of the source whose images get the noise, if there is one."""
        return (self.source,) if self.source else ()

    def draw(self, batch: gancore.Drawn, noise: torch.Generator) -> gancore.Drawn:
        """Return the batch with noise on its real images, or on those of the source."""
        if not self.source:
            return attrs.evolve(batch, real=self._noisy(batch.real, noise))
        images, labels = batch.sides[self.source]
        return attrs.evolve(batch, sides={**batch.sides, self.source: (self._noisy(images, noise), labels)})

    def _noisy(self, images: Tensor, noise: torch.Generator) -> Tensor:
        return noisy(images, self.kind, self.scale, noise, bounded=self.bounded)


def noisy(
    images: Tensor, kind: Literal["normal", "uniform"], scale: float, noise: torch.Generator, *, bounded: bool = False
) -> Tensor:
    """Return images plus noise of a standard deviation (normal) or of half a range (uniform), kept in [-1, 1] if bounded."""
    drawn = torch.empty_like(images)
    drawn = drawn.normal_(generator=noise) if kind == "normal" else drawn.uniform_(-1, 1, generator=noise)
    spread = images + scale * drawn
    return spread.clamp(-1, 1) if bounded else spread

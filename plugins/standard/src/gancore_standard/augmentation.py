"""Augmentations that stand between every image, real or generated, and the discriminator. Scores and samples don't see them."""

from __future__ import annotations

import math
from typing import Annotated, ClassVar, Literal

import torch
from torch import Tensor

from gancore import GancoreError, Range, Sampler, rand, randn


class View(Sampler):
    """Changes each image, of a group too, by noise of its own.

    Args:
        image_size: Height and width H of images, from core.

    Raises:
        GancoreError: The data are points, which have no height and width.
    """

    groups: ClassVar[bool] = True

    def __init__(self, *, image_size: int) -> None:
        super().__init__()
        if image_size < 2:
            raise GancoreError("an augmentation needs images of at least 2 pixels, and these data are points; leave it out.")

    def augmented(self, x: Tensor, noise: torch.Generator) -> Tensor:
        """Return images (N, C, H, H), changed."""
        raise NotImplementedError

    def view(self, images: Tensor, noise: torch.Generator) -> Tensor:
        """Return what the discriminator sees of images (N, C, H, H), or of groups (N, k, C, H, H), in [-1, 1] or beyond."""
        return self.augmented(images.flatten(0, -4), noise).view_as(images)


class DiffAugment(View):
    """Differentiable augmentation of real and generated images, in both players' turns (Zhao et al. 2020, arXiv:2006.10738).

    ``color`` adds U(-0.5, 0.5), scales the distance from the gray of each pixel by U(0, 2), then that from the image's mean by
    U(0.5, 1.5). ``translation`` shifts by whole pixels, up to H / 8, each way, and ``cutout`` hides a square of H / 2, of which
    an edge of the image may cut something off. What is shifted in or hidden is 0, and values may leave [-1, 1], as in the
    authors' code.

    Args:
        policy: Which of the three, whatever their order here: they follow each other as above.
        image_size: Height and width H of images, from core.
    """

    def __init__(
        self,
        *,
        policy: tuple[Literal["color", "translation", "cutout"], ...] = ("color", "translation", "cutout"),
        image_size: int,
    ) -> None:
        super().__init__(image_size=image_size)
        if not policy:
            raise GancoreError("a policy of DiffAugment names none of color, translation and cutout; name one.")
        self.policy = frozenset(policy)

    def augmented(self, x: Tensor, noise: torch.Generator) -> Tensor:
        """Return images (N, C, H, H) after the policy."""
        # All are drawn whatever the policy, so that leaving one out leaves the others' noise as it was.
        u = rand((len(x), 7), noise)
        if "color" in self.policy:
            x = colored(x, u[:, :3])
        if "translation" in self.policy:
            x = translated(x, u[:, 3:5])
        return cut_out(x, u[:, 5:]) if "cutout" in self.policy else x


def colored(x: Tensor, u: Tensor) -> Tensor:
    """Return images (N, C, H, H) of other brightness, saturation and contrast, by numbers (N, 3) in [0, 1)."""
    brightness, saturation, contrast = u[:, :, None, None, None].unbind(1)
    x = x + brightness - 0.5
    x = _scaled_about(x.mean(1, keepdim=True), x, 2 * saturation)
    return _scaled_about(x.mean((1, 2, 3), keepdim=True), x, contrast + 0.5)


def translated(x: Tensor, u: Tensor) -> Tensor:
    """Return images (N, C, H, H) shifted down and to the right by -t to t pixels, t = H / 8 rounded, by (N, 2) in [0, 1)."""
    size = x.shape[-1]
    most = int(size / 8 + 0.5)
    shift = (u * (2 * most + 1)).long() - most
    places = torch.arange(size, device=x.device) - shift[:, :, None]
    rows, columns = places.unbind(1)
    inside = (places >= 0) & (places < size)
    return _taken(x, rows.clamp(0, size - 1), columns.clamp(0, size - 1)) * _both(inside)


def cut_out(x: Tensor, u: Tensor) -> Tensor:
    """Return images (N, C, H, H) with a square of zeros, H / 2 rounded a side, by its place (N, 2) in [0, 1)."""
    size = x.shape[-1]
    side = int(size / 2 + 0.5)
    first = (u * (size + 1 - side % 2)).long() - side // 2
    places = torch.arange(size, device=x.device) - first[:, :, None]
    return x * ~_both((places >= 0) & (places < side))


class Augmentation(View):
    """Each of several augmentations, of real and generated images alike, with probability p (Karras et al. 2020, ADA).

    Of arXiv:2006.06676, Appendix B, in its order: a flip of left and right (of half of those chosen), a turn by 0, 90, 180 or
    270 degrees, a shift by whole pixels of up to H / 8, an isotropic scaling by 2^N(0, 0.2^2), brightness + N(0, 0.2^2),
    contrast * 2^N(0, 0.5^2), and in three channels a luma flip (half), a rotation of the hue and saturation * 2^N(0, 1).
    Borders are reflected. Reduced: p is fixed, where the paper adapts it to how sure D is of real images; images are sampled
    bilinearly, without the paper's filter; its rotations, anisotropic scalings, filters and corruptions are left out.

    Args:
        p: Probability of each. Below about 0.8 the generator does not learn the augmentations themselves (section 2.2).
        policy: Which take part: ``geometry`` the first four, ``color`` the others.
        image_size: Height and width H of images, from core.
    """

    def __init__(
        self,
        *,
        p: Annotated[float, Range(0, 1)] = 0.2,
        policy: tuple[Literal["geometry", "color"], ...] = ("geometry", "color"),
        image_size: int,
    ) -> None:
        super().__init__(image_size=image_size)
        if not policy:
            raise GancoreError("a policy of augmentation names none of geometry and color; name one.")
        self.p = p
        self.policy = frozenset(policy)

    def augmented(self, x: Tensor, noise: torch.Generator) -> Tensor:
        """Return images (N, C, H, H) after those augmentations that were chosen for each."""
        chosen = rand((len(x), 9), noise) < self.p
        u, normal = rand((len(x), 6), noise), randn((len(x), 4), noise)
        if "geometry" in self.policy:
            x = turned(x, chosen[:, 0] & (u[:, 0] < 0.5), (4 * u[:, 1]).long() * chosen[:, 1])
            most = int(x.shape[-1] / 8 + 0.5)
            shift = ((2 * most + 1) * u[:, 2:4]).long() - most
            x = moved(x, shift * chosen[:, 2, None], 2 ** (0.2 * normal[:, 0] * chosen[:, 3]))
        if "color" in self.policy:
            brightness, contrast = 0.2 * normal[:, 1] * chosen[:, 4], 2 ** (0.5 * normal[:, 2] * chosen[:, 5])
            x = x * _each(contrast) + _each(brightness * contrast)
            if x.shape[1] == 3:
                hue = math.pi * (2 * u[:, 5] - 1) * chosen[:, 7]
                x = recolored(x, chosen[:, 6] & (u[:, 4] < 0.5), hue, 2 ** (normal[:, 3] * chosen[:, 8]))
        return x


def turned(x: Tensor, flip: Tensor, quarters: Tensor) -> Tensor:
    """Return images (N, C, H, H), flipped left and right where asked (N,), then turned by quarters (N,), 0 to 3."""
    x = torch.where(_each(flip), x.flip(3), x)
    x = torch.where(_each(quarters >= 2), x.flip(2, 3), x)
    return torch.where(_each(quarters % 2 == 1), x.rot90(1, (2, 3)), x)


def moved(x: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
    """Return images (N, C, H, H) shifted down and to the right by pixels (N, 2), then scaled (N,) about their centers."""
    size = x.shape[-1]
    center = (size - 1) / 2
    place = (torch.arange(size, device=x.device) - center) / scale[:, None] + center
    rows, columns = (place[:, None] - shift[:, :, None]).unbind(1)
    # By gathers, not a sampling grid: they have second derivatives, and stay in float32 in mixed precision.
    above, below = (_taken(x, _reflected(tap, size), None) for tap in (rows.floor(), rows.floor() + 1))
    x = torch.lerp(above, below, (rows - rows.floor())[:, None, :, None].expand_as(x).to(x.dtype))
    left, right = (_taken(x, None, _reflected(tap, size)) for tap in (columns.floor(), columns.floor() + 1))
    return torch.lerp(left, right, (columns - columns.floor())[:, None, None, :].expand_as(x).to(x.dtype))


def recolored(x: Tensor, flip: Tensor, hue: Tensor, saturation: Tensor) -> Tensor:
    """Return images (N, 3, H, H) whose luma changes sign (N,), turned about the gray axis (N,) and farther from it (N,)."""
    gray = x.mean(1, keepdim=True)
    across = (x.roll(1, 1) - x.roll(-1, 1)) / math.sqrt(3)  # the cross product of the unit vector of gray and x
    colors = (x - gray) * _each(hue.cos()) + across * _each(hue.sin())
    return torch.where(_each(flip), -gray, gray) + colors * _each(saturation)


def _scaled_about(center: Tensor, x: Tensor, factor: Tensor) -> Tensor:
    return center + (x - center) * factor


def _each(values: Tensor) -> Tensor:
    return values[:, None, None, None]


def _both(inside: Tensor) -> Tensor:
    """Return (N, 1, H, H), of which rows and which columns (N, 2, H) are inside."""
    return (inside[:, 0, :, None] & inside[:, 1, None, :])[:, None]


def _reflected(place: Tensor, size: int) -> Tensor:
    """Return whole places as int64 in 0 to size - 1, reflected at the centers of the border's pixels."""
    place = place.long().remainder(2 * (size - 1))
    return torch.minimum(place, 2 * (size - 1) - place)


def _taken(x: Tensor, rows: Tensor | None, columns: Tensor | None) -> Tensor:
    """Return images (N, C, H, H) of each image's own rows and columns (N, H)."""
    if rows is not None:
        x = x.gather(2, rows[:, None, :, None].expand_as(x))
    if columns is not None:
        x = x.gather(3, columns[:, None, None, :].expand_as(x))
    return x

"""What networks of several resolutions share: how many halvings lie between an image and a 4 x 4 map."""

from __future__ import annotations

from gancore import GancoreError


def doublings(image_size: int, *, least: int = 8) -> int:
    """Return how often a 4 x 4 map is doubled to reach `image_size`.

    Raises:
        GancoreError: The size is not a power of two, or below `least`.
    """
    if image_size < least or image_size & (image_size - 1):
        raise GancoreError(
            f"the network is for images of a power of two of pixels, at least {least}, not {image_size}; set data.image_size."
        )
    return image_size.bit_length() - 3


def scaled(width: float, maps: int) -> int:
    """Return a number of maps times `width`, rounded to a multiple of 8, at least 8."""
    return max(8, round(width * maps / 8) * 8)

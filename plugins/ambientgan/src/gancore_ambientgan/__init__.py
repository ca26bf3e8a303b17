"""AmbientGAN: generative models from lossy measurements (Bora, Price, Dimakis, ICLR 2018): a gancore plugin."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import gancore

GANCORE_API = 1

AMBIENTGAN = "OpenReview:Hy7fDog0b"


@gancore.hookimpl
def gancore_samplers() -> Iterator[gancore.Component]:
    """Declare the measurements that stand between an image, real or generated, and the discriminator."""
    for name, target, summary in (
        ("block-pixels", "masks:BlockPixels", "Pixels, rows or columns blocked at random"),
        ("block-patch", "masks:BlockPatch", "A square blocked at a random place"),
        ("keep-patch", "masks:KeepPatch", "All but a square at a random place blocked"),
        ("extract-patch", "masks:ExtractPatch", "A square of a random place, without the place"),
        ("convolve-noise", "blurs:ConvolveNoise", "A Gaussian blur, and noise"),
        ("pad-rotate-project", "projections:PadRotateProject", "Sums along a random direction, as in tomography"),
        ("gaussian-projection", "projections:GaussianProjection", "The part along a random line"),
    ):
        yield gancore.Component(name, f"gancore_ambientgan.{target}", summary, cite=AMBIENTGAN)


@gancore.hookimpl
def gancore_recipes() -> Iterator[Path]:
    """Say where the recipes lie."""
    yield Path(__file__).with_name("recipes")

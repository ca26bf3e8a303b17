"""Walks through a generator's latents: images from latent to latent, of fixed classes or from class to class."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import attrs
import torch
from gancore_training import sample, shows_labels
from torch import Tensor

from gancore import GancoreError, Latents
from gancore.tools import noise_for, to_uint8
from gancore_export.class_paths import MixedClasses
from gancore_export.noise_paths import Path, latents_along

if TYPE_CHECKING:
    from gancore.tools import Run

_ROWS = 250
"""Images that are generated at a time."""


@attrs.frozen(kw_only=True)
class Walk:
    """How a walk goes.

    Attributes:
        tiles: Images that walk side by side, each its own way.
        stops: Latents that each comes by.
        frames: Frames from one to the next.
        loop: Whether it ends where it began; the last frame is the first one then.
        classes: Labels for a conditional generator, in turn over the tiles; by default all that occur.
        through_classes: Go from class to class at the stops, each tile beginning at its own, instead of keeping it.
        seed: Of the latents.
    """

    tiles: int = 16
    stops: int = 4
    frames: int = 24
    loop: bool = True
    classes: Sequence[int] = ()
    through_classes: bool = False
    seed: int = 0

    @property
    def length(self) -> int:
        """Number of frames."""
        return (self.stops if self.loop else self.stops - 1) * self.frames + 1

    def path(self) -> Path:
        """Return the places of every tile in every frame, tile by tile; the ends are its stops, tile by tile."""
        steps = torch.arange(self.length)
        before = (steps // self.frames).clamp(max=self.stops - 1 if self.loop else max(0, self.stops - 2))
        share = (steps - before * self.frames).double() / self.frames
        start, stop = ((before + more) % self.stops for more in (0, 1))
        tile = self.stops * torch.arange(self.tiles)[:, None]
        return Path(
            self.tiles * self.stops,
            (tile + start).flatten(),
            (tile + stop).flatten(),
            share.float().repeat(self.tiles),
        )


def walk(run: Run, how: Walk | None = None, *, weights: str = "ema") -> Tensor:
    """Return the frames of a walk as images (T, tiles, C, H, W) uint8 on the CPU.

    Args:
        run: The run.
        how: How it goes.
        weights: ``ema``, ``live``, or a further average of the recipe.

    Raises:
        GancoreError: There is no generator of latents, or it can't be walked through as it is asked for.
    """
    how = how or Walk()
    run.generator(weights)
    assert run.prior is not None
    if run.plan.group > 1 or run.plan.info.continuous:
        what = "groups of images" if run.plan.group > 1 else "points in the plane"
        raise GancoreError(f"{run.recipe.name} generates {what}, which are not walked through.")
    path = how.path()
    path = attrs.evolve(path, start=path.start.to(run.device), stop=path.stop.to(run.device), share=path.share.to(run.device))
    drawn = latents_along(run.prior, path, noise_for(run.device, run.seed, "walk", how.seed))
    labels = _labels(run, how, weights)
    label, other = (drawn.label, drawn.label) if labels is None else (labels[path.start], labels[path.stop])
    images = torch.cat(list(_generated(run, drawn.z, label, other, path.share, weights)))
    return images.view(how.tiles, how.length, *images.shape[1:]).transpose(0, 1)


def _generated(run: Run, z: Tensor, label: Tensor, other: Tensor, share: Tensor, weights: str) -> Iterator[Tensor]:
    between = not torch.equal(label, other)
    for start in range(0, len(z), _ROWS):
        rows = slice(start, start + _ROWS)
        mixing = MixedClasses(label[rows], other[rows], share[rows]) if between else None
        latents = Latents(z[rows], label[rows])
        with mixing or contextlib.nullcontext():
            generated = run.generate(latents, weights, start=start, total=len(z))
        if mixing is not None and not mixing.mixed:
            raise GancoreError(
                f"the generator of {run.recipe.name} does not look its classes up in an embedding, so there is nothing between "
                "two of them; walk within classes."
            )
        yield to_uint8(generated).cpu()


def _labels(run: Run, how: Walk, weights: str) -> Tensor | None:
    """Return the labels at the stops of every tile (tiles * stops,), or None where the latents go with their own."""
    assert run.prior is not None
    if not run.prior.any_label or run.plan.info.attributes:
        if how.classes or how.through_classes:
            sample(run, 1, how.classes or [0], weights=weights)  # refuses it in its words
        if not run.prior.any_label:
            return None
        return run.latent(how.tiles, "walk", how.seed, "labels").label.repeat_interleave(how.stops, 0)
    conditional = shows_labels(run)
    if how.through_classes and not conditional:
        raise GancoreError(f"the generator of {run.recipe.name} heeds no labels, so there is no way from class to class.")
    classes = run.batches.labels.values
    if how.classes:
        classes = sample(run, len(how.classes), how.classes, weights=weights)[1].to(run.device)
    tile, stop = torch.arange(how.tiles)[:, None], torch.arange(how.stops)[None]
    places = (tile + stop if how.through_classes else tile.expand(-1, how.stops)) % len(classes)
    return classes[places.flatten().to(run.device)]

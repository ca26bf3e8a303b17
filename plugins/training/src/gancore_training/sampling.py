"""Samples: images from a run's generator, and writing them in the formats that plugins bring."""

from __future__ import annotations

from collections.abc import Callable, Collection
from pathlib import Path
from typing import TYPE_CHECKING

import attrs
import torch
from torch import Tensor

from gancore import GancoreError, Latents
from gancore.tools import listed

if TYPE_CHECKING:
    from gancore.tools import Registry, Run

NO_FORMAT = "no installed plugin writes images; try `pip install 'gancore[all]'`"


def sample(
    run: Run, number: int, classes: Collection[int] = (), *, seed: int = 0, weights: str = "ema"
) -> tuple[Tensor, Tensor]:
    """Return generated images (number, C, H, W) in [-1, 1] on the CPU, and their labels.

    Args:
        run: The run.
        number: How many.
        classes: Labels to ask a conditional generator for, in turn; by default all that occur, or, where the latents go with
            labels of their own or the data have attributes, as they are drawn.
        seed: Of the latents.
        weights: ``ema`` or ``live``.

    Raises:
        GancoreError: A class that the data do not have, or that can't be asked for, or that the generator does not heed.
    """
    run.generator(weights)  # refuses a recipe without one
    group = run.plan.group
    samples = -(-number // group)
    drawn = run.latent(samples, "samples", seed)
    assert run.prior is not None
    if run.prior.any_label and run.plan.info.classes:
        wanted = _asked(run, classes) if classes else run.batches.labels.values
        drawn = attrs.evolve(drawn, label=wanted[torch.arange(samples, device=run.device) % len(wanted)])
    elif classes:
        why = "draws latents that go with labels of their own" if run.plan.info.classes else "has data with attributes"
        raise GancoreError(f"{run.recipe.name} {why}, so no class can be asked for.")
    pieces = []
    for start in range(0, samples, 250):
        rows = slice(start, start + 250)
        pieces.append(run.generate(Latents(drawn.z[rows], drawn.label[rows]), weights, start=start, total=samples).cpu())
    images = torch.cat(pieces)
    return images.view(-1, *images.shape[-3:])[:number], drawn.label.cpu().repeat_interleave(group, 0)[:number]


def _asked(run: Run, classes: Collection[int]) -> Tensor:
    """Return the classes that are asked for as a tensor, or refuse one of which no image took part in the training."""
    known, occurring = run.plan.info.classes, run.batches.labels.values.tolist()
    for asked in set(classes) - set(occurring):
        if not 0 <= asked < known:
            raise GancoreError(f"there is no class {asked}: the data have the classes 0 to {known - 1}.")
        shown = ", ".join(map(str, occurring[:20])) + (" and more" if len(occurring) > 20 else "")
        raise GancoreError(f"there is no image of class {asked} among the training data of {run.recipe.name}, only of {shown}.")
    if not shows_labels(run):
        raise GancoreError(f"the generator of {run.recipe.name} heeds no labels, so no class can be asked for.")
    return torch.tensor(list(classes), device=run.device)


def shows_labels(run: Run) -> bool:
    """Return whether the images of a run's generator go with the labels that it is given."""
    if run.prior is None or not run.prior.any_label:
        return run.prior is not None
    drawn = run.latent(1, "samples", 0)
    other = 1 - drawn.label if run.plan.info.attributes else (drawn.label + 1) % run.plan.info.classes
    return not torch.equal(run.generate(drawn), run.generate(attrs.evolve(drawn, label=other)))


def suffixes(registry: Registry) -> list[str]:
    """Return the suffixes of files that images can be written to; the first one is used where none is asked for."""
    names = {component.name for component in registry.components("image-format")}
    return sorted(names, key=lambda name: (name != "png", name))


def image_format(path: Path, registry: Registry) -> Callable[..., None]:
    """Return what writes images to a file, by the file's suffix: what the hook `gancore_image_formats` declares.

    Raises:
        GancoreError: No plugin writes such files, or several do.
    """
    suffix = path.suffix.removeprefix(".").lower()
    known = suffixes(registry)
    if suffix not in known:
        remedy = f"end its name in one of these: {listed(f'.{name}' for name in known)}." if known else f"{NO_FORMAT}."
        raise GancoreError(f"{path} can't be written: {remedy}")
    writer: Callable[..., None] = registry.load(registry.component("image-format", suffix, where=str(path)))
    return writer

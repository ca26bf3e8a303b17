"""Images from a run's generator."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from gancore.contract import Translator
from gancore.engine import generate, to_unit
from gancore.errors import GancoreError

if TYPE_CHECKING:
    from gancore.engine import Run


def sample(
    run: Run, number: int, classes: Collection[int] = (), *, seed: int = 0, weights: str = "ema"
) -> tuple[Tensor, Tensor]:
    """Return generated images (number, C, H, W) in [-1, 1] on the CPU, and their labels.

    Args:
        run: The run.
        number: How many.
        classes: Labels to ask a conditional generator for, in turn; all of them by default, or, where the latents go with
            labels of their own, those.
        seed: Of the latents.
        weights: ``ema`` or ``live``.

    Raises:
        GancoreError: A class that the data do not have, or that can't be asked for.
    """
    known = run.plan.info.classes
    for asked in classes:
        if not 0 <= asked < known:
            raise GancoreError(f"there is no class {asked}: the data have the classes 0 to {known - 1}.")
    network = run.generator(weights)
    drawn = run.latent(number, "samples", seed)
    z, label = drawn.z, drawn.label
    if run.prior is not None and run.prior.any_label:
        wanted = torch.tensor(list(classes) or list(range(known)), device=run.device)
        label = wanted[torch.arange(number, device=run.device) % len(wanted)]
    elif classes:
        raise GancoreError(f"{run.recipe.name} draws latents that go with labels of their own, so no class can be asked for.")
    translated = run.batches.selection[0] if isinstance(network, Translator) else None
    training = network.training
    network.eval()
    pieces = []
    for start in range(0, number, 250):
        rows = slice(start, start + 250)
        sources = None if translated is None else evenly(translated, number, start, len(z[rows])).to(run.device)
        with torch.no_grad(), run.autocast():
            pieces.append(generate(network, z[rows], label[rows], None if sources is None else to_unit(sources)))
    network.train(training)
    return torch.cat(pieces).float().cpu(), label.cpu()


def evenly(images: Tensor, total: int, start: int, number: int) -> Tensor:
    """Return images `start` to `start + number` of `total` that lie evenly over a set, whose order may be by class."""
    places = torch.arange(start, start + number) * len(images) // total
    return images[places]

"""Sampling a prior GAN as it was at the end of each of its last cycles (CBGAN A.7)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from gancore_training import checkpoint
from torch import Tensor, nn

import gancore
from gancore.tools import evaluating, to_uint8, to_unit
from gancore_uap.proxy_files import ProxySummary, Writer

if TYPE_CHECKING:
    from gancore_training import TrainingRun


_BATCH = 250


@torch.no_grad()
def sample_cycles(
    run: TrainingRun,
    checkpoints: Sequence[Path],
    images: int,
    classify: Callable[[Tensor], Tensor],
    writer: Writer,
    *,
    progress: Callable[[str], None],
) -> ProxySummary:
    """Sample the generator, as it was at the end of each cycle, into a proxy set.

    The live generator, not its average: the point of the cycles is that they differ.

    Args:
        run: The prior's run; it is left as its last checkpoint has it.
        checkpoints: One for each cycle, oldest first.
        images: Images of each, 1 or more.
        classify: Maps images (N, C, H, W) in [-1, 1] to logits (N, K); a network does so in eval mode.
        writer: Where they go; cycles that it has are passed over.
        progress: Told a line for each cycle.

    Raises:
        GancoreError: There is no checkpoint, or one is damaged; the data are no images; or classifier and writer disagree.
    """
    if not checkpoints:
        raise gancore.GancoreError(f"{run.recipe.name} has no cycles; set run.checkpoint_every to the length of a cycle.")
    if run.plan.info.continuous:
        raise gancore.GancoreError(f"{run.recipe.name} generates points in the plane, no images; choose a prior of images.")
    if images < 1:
        raise gancore.GancoreError(f"a proxy set needs 1 image of each cycle or more, and {images} are asked for.")
    with evaluating(classify) if isinstance(classify, nn.Module) else nullcontext():
        cycles, certainty = [], []
        for path in checkpoints:
            cycle = int(path.stem)
            cycles.append(cycle)
            whole = writer.has(cycle)
            if not whole:
                checkpoint.load(run, path)
            generated = writer.images_of(cycle) if whole else _generated(run, images, cycle)
            logits = torch.cat([classify(to_unit(batch.to(run.device))).cpu() for batch in generated.split(_BATCH)])
            certainty.append(certainty_of(logits))
            if whole:
                continue
            if logits.shape[1] != writer.classes:
                raise gancore.GancoreError(
                    f"the classifier gives {logits.shape[1]} classes and the proxy set has {writer.classes}; let them agree."
                )
            labels = logits.argmax(dim=1)
            writer.add(cycle, generated, labels)
            progress(f"cycle {cycle}: {images} images, {len(labels.unique())} of {writer.classes} classes")
        return writer.finish(cycles, certainty)


def certainty_of(logits: Tensor) -> tuple[float, float]:
    """Return the mean confidence, and the mean entropy in nats, of a classifier's logits (N, K)."""
    log_p = logits.double().log_softmax(1)
    entropy = -torch.special.xlogy(log_p.exp(), log_p.exp()).sum(1)
    return float(log_p.amax(1).exp().mean()), float(entropy.mean())


def _generated(run: TrainingRun, images: int, cycle: int) -> Tensor:
    """Return a cycle's images (N, C, H, W) uint8 on the CPU."""
    return torch.cat([_sampled(run, images, cycle, start) for start in range(0, images, _BATCH)])


def _sampled(run: TrainingRun, images: int, cycle: int, start: int) -> Tensor:
    """Return the batch (N, C, H, W) uint8 of a cycle's images that begins at `start`, on the CPU."""
    drawn = run.latent(min(_BATCH, images - start), "proxy", cycle, start)
    return to_uint8(run.generate(drawn, "live", start=start, total=images)).cpu()

"""Turns in pieces: the gradients of a batch's pieces add up to those of the whole, where its losses are means over images."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

from torch import Tensor
from torch.nn.modules.batchnorm import _BatchNorm

from gancore.engine.parts import Parts
from gancore.engine.values import Batch
from gancore.errors import GancoreError
from gancore.parallel import distributed
from gancore.plan import DISCRIMINATOR, PhasePlan


def cut(parts: Parts, plan: PhasePlan, batch: Batch, pieces: int, generate: Callable[..., Tensor]) -> list[Batch]:
    """Return a batch in so many pieces, with what is generated without a graph made of the whole.

    Raises:
        GancoreError: What the turn computes on the pieces is not what it computes on the whole.
    """
    for why in _reasons(parts, plan, batch, pieces):
        raise GancoreError(
            f"{parts.plan.recipe.name}: the turn of the {plan.player} can't be taken in {pieces} pieces: {why}, so that their "
            "gradients would not add up to those of the whole batch; take it in one, with a smaller run.batch_size."
        )
    for side in (side for side, grad in plan.generators.items() if not grad):
        generate(side, batch, grad=False)
    return [distributed.part_of(batch, piece, pieces) for piece in range(pieces)]


def _reasons(parts: Parts, plan: PhasePlan, batch: Batch, pieces: int) -> Iterator[str]:
    if len(batch.real) % pieces or (batch.z is not None and len(batch.z) % pieces):
        yield f"they can't have as many of its {len(batch.real)} images each"
    for label in plan.terms:
        term = parts.plan.terms[label]
        if not term.cls.mean_over_images:
            yield f"{term.where} is no mean over images"
        if "observe" in term.methods:
            yield f"{term.where} observes a batch as a whole"
    if any(True for _ in parts.rows()) or (plan.attacked and parts.attack is not None and parts.attack.gradient == "shared"):
        yield "something is kept for each image of a batch, or learns from the gradient on all of them"
    if batch.joined or batch.blended:
        yield "a sampler joins or blends images"
    seen = {plan.player, *(forward.network for forward in plan.networks), *([DISCRIMINATOR] if plan.forwards else [])}
    for player in seen & parts.players.keys():
        modules = [module for owner in parts.players[player].modules for module in owner.modules()]
        if any(isinstance(module, _BatchNorm) or getattr(module, "batch_statistics", False) for module in modules):
            yield f"the {player} has batch statistics"


@contextlib.contextmanager
def as_before(parts: Parts) -> Iterator[None]:
    """Have parametrizations of weights (spectral norm) give what they gave for the turn's first piece."""
    named = [pair for player in parts.players.values() for owner in player.modules for pair in owner.named_modules()]
    moving = [module for name, module in named if name.rpartition(".")[2] == "parametrizations"]
    for parametrizations in moving:
        parametrizations.eval()
    try:
        yield
    finally:
        for parametrizations in moving:
            parametrizations.train()

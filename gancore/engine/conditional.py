"""Whether a network computes anything with its labels: measured, so that no author need declare it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from gancore.engine.forwards import evaluating, generate
from gancore.engine.parts import Parts
from gancore.errors import GancoreError
from gancore.plan import DISCRIMINATOR, SEEN, needs_of


class _Watched(Tensor):
    """Labels that tell whether a function of torch has seen them."""

    seen = False

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        _Watched.seen = True
        return super().__torch_function__(func, types, args, kwargs or {})  # type: ignore[no-untyped-call]


def check_labels(parts: Parts) -> None:
    """Refuse to train a generator towards labels that it never saw.

    Raises:
        GancoreError: In the loss of a generator that ignores its labels, a loss term or a head reads them.
    """
    plan, info = parts.plan, parts.plan.info
    zeros = partial(torch.zeros, device=parts.device)
    label = zeros((2, info.attributes) if info.attributes else (2,), dtype=torch.int64)
    z, images = zeros(2, plan.recipe.run.latent_dim), zeros(2, info.channels, info.image_size, info.image_size)
    # One class leaves nothing to ignore, and latents that go with their labels tell them.
    blind = info.classes != 1 and (parts.prior is None or parts.prior.any_label)
    for side, name in plan.sides.items() if blind else ():
        asked = [(term.where, need) for term in plan.terms.values() if name in term.methods for need in needs_of(term, name)]
        judging = [where for where, need in asked if need.label == f"{side}_label"]
        heads = {need.label: parts.heads[need.label] for _, need in asked if need.kind == "head" and need.side == side}
        for head, module in heads.items():
            features = zeros(2, parts.networks[DISCRIMINATOR].features)
            judging += [plan.heads[head].where] if _sees(module, partial(module, features), label) else []
        if parts.sees_labels and any(need.kind in ("head", *SEEN) and need.side == side for _, need in asked):
            judging.append(plan.networks[DISCRIMINATOR].where)
        network = parts.networks[name]
        if judging and not _sees(network, partial(generate, network, z, images=images), label):
            raise GancoreError(
                f"{judging[0]} judges images by labels that {plan.networks[name].where} ignores, and so would train it towards "
                "what it never saw; choose a conditional generator (some have a setting `conditional`), or another loss."
            )


def _sees(network: nn.Module, call: Callable[[Tensor], Any], label: Tensor) -> bool:
    _Watched.seen = False
    with evaluating(network), torch.random.fork_rng(devices=[]):
        call(label.as_subclass(_Watched))
    return _Watched.seen

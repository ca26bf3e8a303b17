"""The state of a run: every tensor and number that a checkpoint holds, as one process would have them."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from gancore.engine.parts import Parts
from gancore.errors import GancoreError
from gancore.parallel import collectives, distributed


def tensors_of(parts: Parts) -> dict[str, Tensor]:
    """Return every tensor of a checkpoint, ``owner/name`` -> tensor. Of several processes, all must call it together."""
    state = {f"{owner}/{key}": value for owner, module in parts.modules().items() for key, value in module.state_dict().items()}
    for name, player in parts.players.items():
        state |= {f"optimizer.{name}/{key}": value for key, value in player.state().items()}
    if distributed.world_size() > 1:
        for owner, module, buffer in parts.rows():
            state[f"{owner}/{buffer}"] = torch.cat(collectives.gather_list(getattr(module, buffer)))
    return state


def restore_tensors(parts: Parts, tensors: Mapping[str, Tensor]) -> None:
    """Go back to what `tensors_of` returned.

    Raises:
        GancoreError: Tensors are missing, unknown, or of another shape or type.
    """
    groups: dict[str, dict[str, Tensor]] = {}
    for name, value in tensors.items():
        owner, _, key = name.partition("/")
        groups.setdefault(owner, {})[key] = value
    modules = {owner: module for owner, module in parts.modules().items() if module.state_dict()}
    strange = (modules.keys() ^ groups.keys()) - {f"optimizer.{name}" for name in parts.players}
    if strange:
        raise GancoreError(f"the checkpoint does not fit this recipe: it differs in {', '.join(sorted(strange))}.")
    for owner, _, buffer in parts.rows():
        if buffer in groups.get(owner, {}):
            groups[owner][buffer] = distributed.own_rows(groups[owner][buffer])
    for owner, module in modules.items():
        for key, value in module.state_dict().items():
            dtype = groups[owner].get(key, value).dtype
            if dtype != value.dtype:
                raise GancoreError(f"the checkpoint does not fit this recipe's {owner}: {key} is {dtype}, not {value.dtype}.")
        try:
            module.load_state_dict(groups[owner])
        except RuntimeError as error:
            detail = " ".join(str(error).split())[:200]
            raise GancoreError(f"the checkpoint does not fit this recipe's {owner}: {detail}.") from error
    for name, player in parts.players.items():
        player.load_state(groups.get(f"optimizer.{name}", {}))

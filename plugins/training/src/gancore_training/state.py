"""The state of a run: every tensor and number that a checkpoint holds, as one process would have them."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from gancore import GancoreError
from gancore.tools import Player, Run, collectives, distributed


def tensors_of(run: Run) -> dict[str, Tensor]:
    """Return every tensor of a checkpoint, ``owner/name`` -> tensor. Of several processes, all must call it together.

    Raises:
        GancoreError: An optimizer remembers something else, which a checkpoint would forget.
    """
    state = {f"{owner}/{key}": value for owner, module in run.modules().items() for key, value in module.state_dict().items()}
    for name, player in run.players.items():
        state |= {f"optimizer.{name}/{key}": value for key, value in optimizer_state(player).items()}
    if distributed.world_size() > 1:
        for owner, module, buffer in run.parts.rows():
            state[f"{owner}/{buffer}"] = torch.cat(collectives.gather_list(getattr(module, buffer)))
    return state


def restore(run: Run, tensors: Mapping[str, Tensor], counters: Mapping[str, int]) -> None:
    """Go back to what `tensors_of` returned, and `Run.counters`.

    Raises:
        GancoreError: Tensors are missing, unknown, or of another shape or type.
    """
    groups: dict[str, dict[str, Tensor]] = {}
    for name, value in tensors.items():
        owner, _, key = name.partition("/")
        groups.setdefault(owner, {})[key] = value
    modules = {owner: module for owner, module in run.modules().items() if module.state_dict()}
    strange = (modules.keys() ^ groups.keys()) - {f"optimizer.{name}" for name in run.players}
    if strange:
        raise GancoreError(f"the checkpoint does not fit this recipe: it differs in {', '.join(sorted(strange))}.")
    for owner, _, buffer in run.parts.rows():
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
    for name, player in run.players.items():
        load_optimizer_state(player, groups.get(f"optimizer.{name}", {}))
    run.iteration, run.draws, run.latents = counters["iteration"], counters["draws"], counters["latents"]


def optimizer_state(player: Player) -> dict[str, Tensor]:
    """Return the tensors of a player's optimizer, named ``<parameter number>.<what>``.

    Raises:
        GancoreError: It remembers something else, which a checkpoint would forget.
    """
    entries = player.optimizer.state_dict()["state"].items()
    state = {f"{number}.{key}": value for number, entry in entries for key, value in entry.items() if value is not None}
    for name, value in state.items():
        if not isinstance(value, Tensor):
            raise GancoreError(f"{player.where} remembers {name} as {value!r}; only tensors are saved, so keep it as one.")
    return state


def load_optimizer_state(player: Player, tensors: Mapping[str, Tensor]) -> None:
    """Restore what `optimizer_state` returned.

    Raises:
        GancoreError: It is the state of other parameters, or of another type.
    """
    entries: dict[int, dict[str, Tensor]] = {}
    for name, value in tensors.items():
        number, _, key = name.partition(".")
        parameter = player.parameters[int(number)] if number in map(str, range(len(player.parameters))) else None
        # The file holds plain contiguous tensors; a moment has its parameter's memory format.
        if parameter is not None and value.shape == parameter.shape and value.dtype.is_floating_point:
            value = torch.empty_like(parameter, requires_grad=False).copy_(value)
        elif parameter is None or value.shape == parameter.shape:
            raise GancoreError(f"the checkpoint does not fit {player.where}: {name} ({value.dtype}) is no state of it.")
        entries.setdefault(int(number), {})[key] = value
    player.optimizer.load_state_dict({**player.optimizer.state_dict(), "state": entries})

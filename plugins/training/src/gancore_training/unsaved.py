"""What components keep elsewhere than in tensors: numbers, which a checkpoint holds too, and what it would forget."""

from __future__ import annotations

import copy
import inspect
import random
from collections import deque
from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from gancore import GancoreError, Head, Network
from gancore.tools import Parts, Player

OF_TORCH = frozenset(vars(nn.Module()))
"""What every module keeps; its tensors are looked at themselves."""

OF_OPTIMIZERS = ("state", "param_groups", "defaults")
"""What every optimizer keeps."""

MOST_NUMBERS = 10_000
"""In one list or table of a checkpoint's."""


class Unsaved:
    """What the components of a run keep outside of its tensors, as it was when this was made."""

    def __init__(self, parts: Parts) -> None:
        self.parts = parts
        # Nothing that is compared by its place in memory may be freed, or another object could come to lie there.
        self._held: list[Any] = []
        self._before = {place: self._content(value, self._held) for place, value in _values(parts)}
        owners = _all_modules(parts)
        self._first = {place: copy.deepcopy(v) for place, v in _values(parts) if place[0] in owners and _plain(v)}

    def numbers(self) -> dict[str, Any]:
        """Return the numbers, and the lists and tables of numbers, that components have changed, by component and name."""
        changed = ((place, value) for place, value in self._changed() if place in self._first and _plain(value))
        return {"/".join(place): copy.deepcopy(value) for place, value in changed}

    def restore(self, numbers: Mapping[str, Any]) -> None:
        """Go back to what `numbers` returned.

        Raises:
            GancoreError: No component keeps such a number.
        """
        modules = _all_modules(self.parts)
        first = {"/".join(place): value for place, value in self._first.items()}
        for name, value in {**{name: first[name] for name in self.numbers()}, **numbers}.items():
            if name not in first or not _plain(value):
                raise GancoreError(f"the checkpoint does not fit this recipe: no component keeps a number {name[:200]!r}.")
            owner, _, full = name.partition("/")
            prefix, _, attribute = full.rpartition(".")
            setattr(modules[owner].get_submodule(prefix), attribute, copy.deepcopy(value))

    def check(self) -> None:
        """Refuse what has changed and no checkpoint holds, for a resumed training would go another way.

        Raises:
            GancoreError: Something has.
        """
        for place, value in self._changed():
            if place not in self._first or not _plain(value):
                raise GancoreError(
                    f"{self.parts.plan.recipe.name}: {place[0]} changes {place[1]} in an iteration, which a checkpoint would "
                    "forget; its author must keep it in a buffer that the constructor registers, as a number, or, if it can be "
                    "computed anew, as a functools.cached_property."
                )

    def _changed(self) -> Iterator[tuple[tuple[str, str], Any]]:
        for place, value in _values(self.parts):
            if place not in self._before or self._before[place] != self._content(value, []):
                yield place, value

    def _content(self, value: Any, held: list[Any], depth: int = 4) -> Any:
        """Return what changes when a value does."""
        if isinstance(value, int | float | str | None):
            return repr(value)
        held.append(value)
        if isinstance(value, Tensor):
            return id(value), None if value.is_inference() else value._version
        inner = [*value.items()] if isinstance(value, Mapping) else _inner(value)
        if isinstance(inner, list | tuple | set | frozenset | deque):
            return [self._content(each, held, depth - 1) for each in inner] if depth else len(inner)
        return id(value) if inner is None else inner


def _all_modules(parts: Parts) -> dict[str, nn.Module]:
    """Return every module of a run, those with frozen weights too, by its name in a checkpoint."""
    return {**{f"network.{label}": network for label, network in parts.networks.items()}, **parts.modules()}


def _plain(value: Any) -> bool:
    """Return whether a checkpoint's header can hold a value, and nothing but numbers comes back from it."""
    if type(value) is list:
        return len(value) <= MOST_NUMBERS and all(map(_plain, value))
    if type(value) is dict:
        return len(value) <= MOST_NUMBERS and all(type(key) is str and _plain(each) for key, each in value.items())
    return type(value) in (bool, int, float, type(None))


def _inner(value: Any) -> Any:
    """Return what is in an object, or None where nobody looks into it."""
    if isinstance(value, list | tuple | set | frozenset | deque):
        return value
    if isinstance(value, torch.Generator):
        return value.get_state().tolist()
    if isinstance(value, random.Random):
        return value.getstate()
    if isinstance(value, np.random.Generator):
        return repr(value.bit_generator.state)
    if isinstance(value, np.ndarray) and value.nbytes < 1_000_000:
        return value.tobytes()
    if isinstance(value, Iterator):
        return object()  # nobody can tell where it stands, so it is never the same
    foreign = type(value).__module__.partition(".")[0] not in ("gancore", "torch", "builtins")
    return (
        [*vars(value).items()] if foreign and hasattr(value, "__dict__") and not isinstance(value, nn.Module | type) else None
    )


def _values(parts: Parts) -> Iterator[tuple[tuple[str, str], Any]]:
    """Yield what components keep and no checkpoint holds: the component, a name in it, and the value."""
    saved = parts.modules()
    for owner, component in _all_modules(parts).items():
        state = component.state_dict()
        # Not by its name, for a module may give its state other names.
        held = {tensor.data_ptr() for tensor in state.values()} if owner in saved else ()
        yield (owner, "the names of its buffers"), [*state]
        # What a network is initialized by is no output that it leaves behind.
        passing = isinstance(component, Head) or getattr(type(component), "initialize", None) is Network.initialize
        for prefix, module in component.named_modules():
            for name, value in _attributes(module, passing=passing):
                if not (isinstance(value, Tensor) and value.data_ptr() in held):
                    yield (owner, f"{prefix}.{name}" if prefix else name), value
    for place, factor in parts.factors.items():
        cells = inspect.getclosurevars(factor).nonlocals if inspect.isfunction(factor) else {}
        for name, value in {**getattr(factor, "__dict__", {}), **cells}.items():
            yield (f"the schedule of {place}", name), value
    for label, player in parts.players.items():
        for name, value in _of_optimizer(player):
            yield (f"optimizers.{label}", name), value


def _of_optimizer(player: Player) -> Iterator[tuple[str, Any]]:
    """Yield what a player's optimizer keeps beside its state: attributes, and numbers of groups that have no schedule."""
    scheduled = {key for _, key, *_ in player.scheduled}
    attributes = vars(player.optimizer).items()
    yield from ((name, value) for name, value in attributes if name not in OF_OPTIMIZERS and name[0] != "_")
    for group in player.optimizer.param_groups:
        yield from ((name, value) for name, value in group.items() if name not in (*scheduled, "params"))


def _attributes(module: nn.Module, *, passing: bool) -> Iterator[tuple[str, Any]]:
    """Yield the attributes and tensors of a module; `passing`: without tensors that a forward leaves behind."""
    for name, value in vars(module).items():
        outputs = value if isinstance(value, list | tuple) else [value]
        left = passing and any(isinstance(output, Tensor) for output in outputs)
        if name not in OF_TORCH and not left and not isinstance(getattr(type(module), name, None), cached_property):
            yield name, value
    yield from (*module.named_buffers(recurse=False), *module.named_parameters(recurse=False))

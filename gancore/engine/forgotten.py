"""What a checkpoint would forget: state that components keep elsewhere than in the tensors that it holds."""

from __future__ import annotations

import inspect
import random
from collections import deque
from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from gancore.contract import Head, Network
from gancore.engine.parts import Parts
from gancore.errors import GancoreError

OF_TORCH = frozenset(vars(nn.Module()))
"""What every module keeps; its tensors are looked at themselves."""


class Unsaved:
    """What the components of a run keep outside of its checkpoints, as it was when this was made."""

    def __init__(self, parts: Parts) -> None:
        self.parts = parts
        # Nothing that is compared by its place in memory may be freed, or another object could come to lie there.
        self._held: list[Any] = []
        self._before = {place: self._content(value) for place, value in _values(parts)}

    def check(self) -> None:
        """Refuse what has changed, for a resumed training would go another way.

        Raises:
            GancoreError: Something has.
        """
        for place, value in _values(self.parts):
            if place not in self._before or self._before[place] != self._content(value):
                raise GancoreError(
                    f"{self.parts.plan.recipe.name}: {place[0]} changes {place[1]} in an iteration, which a checkpoint would "
                    "forget; its author must keep it in a buffer that the constructor registers, or, if it can be computed "
                    "anew, as a functools.cached_property."
                )

    def _content(self, value: Any, depth: int = 4) -> Any:
        """Return what changes when a value does."""
        if isinstance(value, int | float | str | None):
            return repr(value)
        self._held.append(value)
        if isinstance(value, Tensor):
            return id(value), None if value.is_inference() else value._version
        inner = [*value.items()] if isinstance(value, Mapping) else _inner(value)
        if isinstance(inner, list | tuple | set | frozenset | deque):
            return [self._content(each, depth - 1) for each in inner] if depth else len(inner)
        return id(value) if inner is None else inner


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
    for owner, component in {**{f"network.{label}": network for label, network in parts.networks.items()}, **saved}.items():
        state = component.state_dict()
        # Not by its name, for a module may give its state other names.
        held = {tensor.data_ptr() for tensor in state.values()} if owner in saved else ()
        yield (owner, "the names of its buffers"), [*state]
        for prefix, module in component.named_modules():
            for name, value in _attributes(module, passing=isinstance(component, Network | Head)):
                if not (isinstance(value, Tensor) and value.data_ptr() in held):
                    yield (owner, f"{prefix}.{name}" if prefix else name), value
    for place, factor in parts.factors.items():
        cells = inspect.getclosurevars(factor).nonlocals if inspect.isfunction(factor) else {}
        for name, value in {**getattr(factor, "__dict__", {}), **cells}.items():
            yield (f"the schedule of {place}", name), value
    for label, player in parts.players.items():
        for name, value in player.unsaved():
            yield (f"optimizers.{label}", name), value


def _attributes(module: nn.Module, *, passing: bool) -> Iterator[tuple[str, Any]]:
    """Yield the attributes and tensors of a module; `passing`: without tensors that a forward leaves behind."""
    for name, value in vars(module).items():
        outputs = value if isinstance(value, list | tuple) else [value]
        left = passing and any(isinstance(output, Tensor) for output in outputs)
        if name not in OF_TORCH and not left and not isinstance(getattr(type(module), name, None), cached_property):
            yield name, value
    yield from (*module.named_buffers(recurse=False), *module.named_parameters(recurse=False))

"""Waiting for the device: on purpose, and which operators do it unasked, with a watch for them that works on any device."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

READING = ("aten::_local_scalar_dense", "aten::nonzero", "aten::masked_select", "aten::equal")


def synchronize(device: torch.device) -> None:
    """Wait until a GPU has done all that it was given; a CPU always has."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _waiting(name: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> str | None:
    """Return why an operator (``aten::nonzero``) with such arguments makes the host wait for the device, or None."""
    if name in READING:
        return f"{name} makes the host wait for the device (.item(), `if tensor`, a mask as index)"
    if name.startswith("aten::index") and len(args) > 1 and isinstance(args[1], list | tuple):
        masks = [index for index in args[1] if isinstance(index, Tensor) and index.dtype in (torch.bool, torch.uint8)]
        if masks:
            return f"{name} with a mask as index makes the host wait for the device; use torch.where"
    if name == "aten::_to_copy" and args[0].device.type != "cpu" and not kwargs.get("non_blocking"):
        target = kwargs.get("device")
        if target is not None and target.type == "cpu":
            return f"{name} to the CPU makes the host wait for the device (.cpu(), .tolist())"
    return None


class Watch(TorchDispatchMode):
    """Tells of every operator inside the ``with`` that makes the host wait for the device, before it runs.

    Args:
        tell: Called with the operator's name and the reason.
    """

    def __init__(self, tell: Callable[[str, str], None]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.tell = tell

    def __torch_dispatch__(
        self, func: Any, types: Sequence[type], args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Run an operator."""
        name = func.name()
        reason = _waiting(name, args, kwargs or {})
        if reason is not None:
            self.tell(name, reason)
        return func(*args, **(kwargs or {}))

"""Generating between two classes: what a generator embeds of labels is mixed, wherever it looks them up."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

_LOOKED_UP: tuple[Any, ...] = (F.embedding, F.one_hot, torch.embedding, Tensor.__getitem__)


class MixedClasses(TorchFunctionMode):
    """While it is active, what is looked up by labels is mixed with what would be looked up by others.

    Args:
        label: The labels (N,) that the generator is given.
        other: The labels (N,) that they are mixed with.
        share: Of the other in the mixture (N,), in [0, 1].

    Attributes:
        mixed: Whether anything was looked up.
    """

    def __init__(self, label: Tensor, other: Tensor, share: Tensor) -> None:
        super().__init__()
        self.label, self.other, self.share = label, other, share
        self.mixed = False

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs = dict(kwargs or {})
        looked_up = func(*args, **kwargs)
        if func not in _LOOKED_UP:
            return looked_up
        first = 1 if func is Tensor.__getitem__ else 0  # labels that are indexed themselves are not looked up
        places = [place for place, value in enumerate(args) if place >= first and self._is_label(value)]
        named = [name for name, value in kwargs.items() if self._is_label(value)]
        if not places and not named:
            return looked_up
        others = tuple(self.other if place in places else value for place, value in enumerate(args))
        kwargs |= dict.fromkeys(named, self.other)
        self.mixed = True
        second = func(*others, **kwargs)
        share = self.share.view(-1, *[1] * (looked_up.ndim - 1)).to(looked_up.device)
        return looked_up * (1 - share) + second * share

    def _is_label(self, value: Any) -> bool:
        return (
            isinstance(value, Tensor)
            and value.dtype == torch.int64
            and value.shape == self.label.shape
            and torch.equal(value, self.label)
        )

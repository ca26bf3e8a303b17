"""What makes two scores comparable."""

from __future__ import annotations

import hashlib
from typing import Any

import attrs
import torch
from torch import nn


@attrs.frozen
class Scores:
    """What one evaluation gave.

    Attributes:
        values: ``metric/value`` -> number or list of numbers.
        protocols: Metric label -> everything that makes two of its values comparable, with an ``id``.
        better: ``metric/value`` -> ``lower`` or ``higher``.
        seconds: How long the evaluation took.
    """

    values: dict[str, Any]
    protocols: dict[str, dict[str, Any]]
    better: dict[str, str]
    seconds: float


def fingerprint(network: nn.Module) -> str:
    """Return twelve characters that change when any weight does, or a constant that is kept beside them."""
    digest = hashlib.blake2b(digest_size=6)
    weights = network.state_dict()
    constants = {name: buffer for name, buffer in network.named_buffers() if name not in weights}
    for name, tensor in (*weights.items(), *constants.items()):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()

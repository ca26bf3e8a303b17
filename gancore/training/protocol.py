"""What makes two scores comparable."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import attrs
from torch import nn

from gancore.files import digest, digest_of, raw_bytes


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

    def pieces() -> Iterator[bytes]:
        for name, tensor in {**network.state_dict(), **dict(network.named_buffers())}.items():
            yield name.encode()
            yield raw_bytes(tensor)

    return digest(pieces())


def identified(protocol: Mapping[str, Any]) -> dict[str, Any]:
    """Return a protocol with its ``id``: scores share a column where these are the same, and nowhere else."""
    return {"id": digest_of(protocol, 8), **protocol}

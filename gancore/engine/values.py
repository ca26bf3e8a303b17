"""What a phase starts from, and the tensors that it computes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs
from torch import Tensor

from gancore.contract import Drawn
from gancore.plan import Need


@attrs.define
class Batch(Drawn):
    """What a phase starts from: what samplers made of a drawn batch, with latents.

    Attributes:
        z: Latents (N, latent_dim); None without a generator.
        fake_label: Labels (N,) for the generator.
        codes: Named codes of the latents, each of N rows.
        whole: Images of the batch over all processes, of which this one has its share.
        generated: Images made without a graph, by side and number; a replay of the batch finds them again.
    """

    z: Tensor | None = None
    fake_label: Tensor | None = None
    codes: Mapping[str, Tensor] = attrs.field(factory=dict)
    whole: int = 0
    generated: dict[tuple[str, int], Tensor] = attrs.field(factory=dict, repr=False)


@attrs.define
class Values:
    """The vocabulary's tensors of one phase, by what they are.

    Attributes:
        share: Share of these values' losses in the player's loss.
        joined: Whether negatives are a part of what the discriminator sees as generated.
        blend: What the real images are blended with where the discriminator sees them, and their share in it.
    """

    share: float = 1.0
    joined: bool = True
    blend: tuple[Tensor, Tensor] | None = None
    batch: dict[str, Tensor | None] = attrs.field(factory=dict)
    images: dict[str, Tensor] = attrs.field(factory=dict)
    view: dict[str, Tensor] = attrs.field(factory=dict)
    label: dict[str, Tensor] = attrs.field(factory=dict)
    head: dict[tuple[str, str], Tensor] = attrs.field(factory=dict)
    features: dict[str, Tensor] = attrs.field(factory=dict)
    activations: dict[str, list[Tensor]] = attrs.field(factory=dict)
    network: dict[tuple[str, str], Tensor] = attrs.field(factory=dict)
    embedding: dict[tuple[str, str], Tensor] = attrs.field(factory=dict)

    def find(self, need: Need) -> Any:
        """Return the tensor that a parameter stands for."""
        if need.kind == "batch":
            return self.batch[need.name]
        if need.kind in ("head", "network", "embedding"):
            return getattr(self, need.kind)[need.label, need.side]
        return getattr(self, need.kind)[need.side]

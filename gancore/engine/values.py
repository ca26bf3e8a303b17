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
        whole: Images of the batch over all processes, of which this one has its rows.
        generated: Images made without a graph, by side; a replay of the batch finds them again.
    """

    z: Tensor | None = None
    fake_label: Tensor | None = None
    codes: Mapping[str, Tensor] = attrs.field(factory=dict)
    whole: int = 0
    generated: dict[str, Tensor] = attrs.field(factory=dict, repr=False)


@attrs.define
class Values:
    """The vocabulary's tensors of one phase, by what they are.

    Attributes:
        batch: What the phase starts from, by name, and what is known of the turn; ``fake_label`` covers joined images too.
        images: Images (N, C, H, W) of each side, as they are.
        label: Labels (N,) of each side, as the discriminator sees it.
        joined: Images that the discriminator sees after a side's own, as if they were of it.
        blended: What a side's images are blended with where the discriminator sees them, and their own share of it.
        perturbed: What the player sees of an attacked side instead of its images and those joined to them.
        view: What the discriminator sees of each side.
        head: Outputs of the discriminator's heads, by head and side.
        features: Its features of each side.
        activations: Outputs of its hidden layers for each side.
        preactivations: Their inputs.
        network: Outputs of other networks, by network and side.
        embedding: Their features, by network and side.
        kept: What losses hand over beside their values, by term and name.
    """

    batch: dict[str, Any]
    images: dict[str, Tensor]
    label: dict[str, Tensor]
    joined: Mapping[str, Tensor]
    blended: Mapping[str, tuple[Tensor, Tensor]]
    perturbed: dict[str, Tensor] = attrs.field(factory=dict)
    view: dict[str, Tensor] = attrs.field(factory=dict)
    head: dict[tuple[str, str], Tensor] = attrs.field(factory=dict)
    features: dict[str, Tensor] = attrs.field(factory=dict)
    activations: dict[str, list[Tensor]] = attrs.field(factory=dict)
    preactivations: dict[str, list[Tensor]] = attrs.field(factory=dict)
    network: dict[tuple[str, str], Tensor] = attrs.field(factory=dict)
    embedding: dict[tuple[str, str], Tensor] = attrs.field(factory=dict)
    kept: dict[tuple[str, str], Tensor] = attrs.field(factory=dict)

    def unjoined(self, need: Need, value: Any) -> Any:
        """Return the value of a need without the rows of images that are joined to its side."""
        side = "fake" if need.label == "fake_label" else need.side
        if side not in self.joined or need.kind in ("images", "network", "embedding"):
            return value
        number = len(self.images[side])
        return [layer[:number] for layer in value] if isinstance(value, list) else value[:number]

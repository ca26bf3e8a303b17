"""What a generator starts from: the base class of latents, and what they draw."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import ClassVar

import attrs
import torch
from torch import Tensor, nn


@attrs.frozen
class Latents:
    """What a generator makes a batch of images from.

    Attributes:
        z: Latents (N, latent_dim), codes included, for they are what the generator sees.
        label: Labels (N,) int64.
        codes: Parts of `z`, or what decided it, by name, each of N rows; a loss term asks for them by these names.
    """

    z: Tensor
    label: Tensor
    codes: Mapping[str, Tensor] = attrs.field(factory=dict)


class Latent(nn.Module):
    """The distribution of latents and labels: one for training, samples and scores. Its buffers are saved and restored."""

    codes: ClassVar[Collection[str]] = ()
    """Names of the codes that `draw` gives: lower-case letters and digits."""

    labels: ClassVar[str] = "of the latent"
    """How the labels are distributed, in a word or two, for the protocol of scores."""

    any_label: ClassVar[bool] = True
    """Whether `z` goes with any label, so that images of a class that somebody asks for may be made from it."""

    def draw(self, number: int, noise: torch.Generator) -> Latents:
        """Return latents for `number` images, drawn from `noise`, on its device.

        Of several processes each draws those of all and keeps its rows, so this depends on nothing but its arguments and
        buffers.
        """
        raise NotImplementedError

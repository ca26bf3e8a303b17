"""Images with attributes in place of a class, what takes them, and latents that read a frozen network."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

import gancore

OCCURRING = torch.tensor([[0, 0, 1], [0, 1, 0], [1, 0, 0], [1, 0, 1]])
"""The first two attributes never occur together, and not all others do either."""


class Faces(gancore.Dataset):
    """Images whose brightness, in three columns, says which of three attributes they have; one combination is rare.

    Args:
        wrong: What is wrong with the labels, if anything.
    """

    def __init__(self, *, wrong: str = "") -> None:
        self.wrong = wrong

    @property
    def info(self) -> gancore.DatasetInfo:
        return gancore.DatasetInfo(10 * (self.wrong == "both"), 1, 8, ("smiles", "frowns", "hat"), attributes=3)

    def load(self, split: str) -> tuple[Tensor, Tensor]:
        labels = OCCURRING[torch.tensor([0] * 50 + [1] * 40 + [2] * 5 + [3] * 1)]
        noise = torch.randint(0, 50, (len(labels), 1, 8, 8), generator=torch.Generator().manual_seed(len(split)))
        images = noise + 150 * labels.repeat_interleave(3, 1)[:, None, None, :8]
        labels = labels[:, :2] if self.wrong == "narrow" else 2 * labels if self.wrong == "twos" else labels
        return images.to(torch.uint8), labels


class AttributeGenerator(gancore.Generator):
    """One linear layer of the latent and the attributes."""

    def __init__(self, *, latent_dim: int, attributes: int, channels: int, image_size: int) -> None:
        super().__init__()
        self.latent_dim, self.shape = latent_dim, (channels, image_size, image_size)
        self.linear = nn.Linear(latent_dim + attributes, channels * image_size**2)

    def forward(self, z: Tensor, label: Tensor | None = None) -> Tensor:
        assert label is not None
        return torch.tanh(self.linear(torch.cat([z, label.float()], 1))).view(-1, *self.shape)


class AttributeHead(gancore.Head):
    """A logit given the attributes, as Projection has it for classes."""

    def __init__(self, *, features: int, attributes: int) -> None:
        super().__init__()
        self.linear, self.embedding = nn.Linear(features, 1), nn.Linear(attributes, features, bias=False)

    def forward(self, features: Tensor, label: Tensor) -> Tensor:
        logits: Tensor = self.linear(features).squeeze(1) + (self.embedding(label.float()) * features).sum(1)
        return logits


class AttributeLogits(gancore.Head):
    """A logit for each attribute."""

    def __init__(self, *, features: int, attributes: int) -> None:
        super().__init__()
        self.linear = nn.Linear(features, attributes)

    def forward(self, features: Tensor, label: Tensor) -> Tensor:
        logits: Tensor = self.linear(features)
        return logits


class AttributeLoss(gancore.LossTerm):
    """The head ``said`` says which attributes an image has."""

    def __init__(self, *, attributes: int) -> None:
        super().__init__()

    def discriminator(self, *, real_said: Tensor, real_label: Tensor) -> Tensor:
        return F.binary_cross_entropy_with_logits(real_said, real_label.float())

    def generator(self, *, fake_said: Tensor, fake_label: Tensor) -> Tensor:
        return F.binary_cross_entropy_with_logits(fake_said, fake_label.float())


class ClassLoss(gancore.LossTerm):
    """Reads labels, and does not say that these may be attributes."""

    def discriminator(self, *, real_adversarial: Tensor, real_label: Tensor) -> Tensor:
        return (real_adversarial * real_label).mean()

    def generator(self, *, fake_adversarial: Tensor) -> Tensor:
        return fake_adversarial.mean()


class Asked(gancore.Metric):
    """How many images of each attribute a generator is asked for."""

    def __init__(self, *, attributes: int) -> None:
        self.reset()

    def reset(self) -> None:
        self.labels: list[Tensor] = []

    def update(self, *, images: Tensor, labels: Tensor) -> None:
        assert len(images) == len(labels)
        self.labels.append(labels)

    def compute(self) -> dict[str, Any]:
        return {"asked": torch.cat(self.labels).sum(0).tolist(), "rows": torch.cat(self.labels).unique(dim=0).tolist()}


class Causal(gancore.Network):
    """Whether somebody smiles decides whether he frowns; all other numbers are free."""

    frozen_needs_weights = False

    def __init__(self) -> None:
        super().__init__()
        self.rates = nn.Parameter(torch.tensor([0.9, 0.5]))

    def attributes(self, chances: Tensor) -> Tensor:
        """Map chances (N, 3) to attributes (N, 3)."""
        smiles, hat = (chances[:, [0, 2]] < self.rates).unbind(1)
        return torch.stack([smiles, ~smiles & (chances[:, 1] < 0.5), hat], 1).long()


class CausalLatent(gancore.Latent):
    """Normal numbers, and attributes of a causal model; its cause is a code.

    Args:
        network: Label of the model.
    """

    codes = ("cause",)
    labels = "of a causal model"
    any_label = False

    def __init__(self, *, latent_dim: int, attributes: int, network: str = "causal") -> None:
        super().__init__()
        self.latent_dim, self.network = latent_dim, network

    def draw(self, number: int, noise: torch.Generator) -> gancore.Latents:
        z = torch.randn(number, self.latent_dim, generator=noise)
        label = self.read.attributes(torch.rand(number, 3, generator=noise))
        return gancore.Latents(z, label, {"cause": label[:, 0].float()})


class CauseLoss(gancore.LossTerm):
    """Asks for the code in both turns."""

    def discriminator(self, *, fake_adversarial: Tensor, cause: Tensor) -> Tensor:
        return (fake_adversarial * cause).mean()

    def generator(self, *, fake_adversarial: Tensor, cause: Tensor) -> Tensor:
        return -(fake_adversarial * cause).mean()

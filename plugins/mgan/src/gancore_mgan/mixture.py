"""A mixture of generators that share layers, and the classifier that keeps them apart (Hoang et al. 2018, section 4)."""

from __future__ import annotations

import math
from collections.abc import Collection
from typing import Annotated, ClassVar, Literal

import torch
from gancore_standard.tools import spectral
from torch import Tensor, nn
from torch.nn import functional as F

import gancore

Number = Annotated[int, gancore.Range(2)]


class Generators(gancore.Latent):
    """K generators G_1 ... G_K that share everything but their first layer, each making as many images as any other.

    A first linear layer of one's own is a block of columns of one wide layer: z of G_k has random numbers in the k-th of K
    blocks, and 0 elsewhere. So any generator that begins with a linear layer becomes K of them. The numbers are multiplied by
    sqrt(K), which gives z the mean square of other latents and the first layer's outputs their scale.

    Images of G_1 ... G_K take turns, beginning with any of them. Which made an image is the code ``member``, a row (K) that
    holds a 1.

    Args:
        latent_dim: Width of the latent, from core; a multiple of K.
        generators: Number K of generators; the paper's 10 for CIFAR-10, 8 for 8 Gaussians.
        numbers: How the latent's numbers are distributed: on [-1, 1], or standard normal.
        same_numbers: Give G_1 ... G_K the same numbers within a batch, as the public code does.

    Raises:
        GancoreError: The latent's width is no multiple of K.
    """

    codes: ClassVar[Collection[str]] = ("member",)

    def __init__(
        self,
        *,
        latent_dim: int,
        generators: Number = 10,
        numbers: Literal["uniform", "normal"] = "uniform",
        same_numbers: bool = True,
    ) -> None:
        super().__init__()
        if latent_dim % generators:
            raise gancore.GancoreError(
                f"{generators} generators share a latent of {latent_dim} numbers, which is no multiple; set run.latent_dim to "
                f"one, e.g. {generators * max(1, latent_dim // generators)}."
            )
        self.generators = generators
        self.width = latent_dim // generators
        self.uniform = numbers == "uniform"
        self.same_numbers = same_numbers

    def draw(self, number: int, noise: torch.Generator) -> gancore.Latents:
        """Return latents for `number` images, with the generator of each as a row (K) of 0 and a 1."""
        turn = torch.arange(number, device=noise.device)
        first = torch.randint(0, self.generators, (1,), generator=noise, device=noise.device)
        # By a comparison, because one_hot waits for the device to learn the largest index.
        member = ((turn + first) % self.generators)[:, None] == torch.arange(self.generators, device=noise.device)
        shape = (math.ceil(number / self.generators) if self.same_numbers else number, self.width)
        if self.uniform:
            numbers = torch.rand(shape, generator=noise, device=noise.device).mul_(2).sub_(1)
        else:
            numbers = torch.randn(shape, generator=noise, device=noise.device)
        if self.same_numbers:
            numbers = numbers[turn // self.generators]
        z = math.sqrt(self.generators) * member[:, :, None] * numbers[:, None, :]
        return gancore.Latents(z.flatten(1), codes={"member": member.to(z.dtype)})


class Classifier(gancore.Head):
    """Logits of the K generators, on the features that the discriminator's own logit is made from.

    Args:
        features: Width F of the features, from core.
        generators: Number K of generators, as the latent's.
        spectral_norm: Spectral norm, as the discriminator has it unless set.
    """

    def __init__(self, *, features: int, generators: Number = 10, spectral_norm: bool) -> None:
        super().__init__()
        self.linear = nn.Linear(features, generators)
        spectral(self.linear, spectral_norm)

    def forward(self, features: Tensor, label: Tensor) -> Tensor:
        """Map features (N, F) to logits (N, K)."""
        logits: Tensor = self.linear(features)
        return logits


class Diversity(gancore.LossTerm):
    """Cross entropy of which generator made an image: D's classifier lowers it, and so do the generators (Eq. 4).

    L_D gets CE(C(G_k(z)), k) and L_G gets beta CE(C(G_k(z)), k). Both are cross entropies of the classifier's softmax: the
    generators make images that are easily told apart. The head is the recipe's ``[heads.members]``.

    Args:
        beta: Weight in the generators' loss; the paper's 0.01 for CIFAR-10, 0.125 for 8 Gaussians.

    Raises:
        GancoreError: From either method, where classifier and latent have other numbers of generators.
    """

    def __init__(self, *, beta: Annotated[float, gancore.Range(0)] = 0.01) -> None:
        super().__init__()
        self.beta = beta

    def discriminator(self, *, fake_members: Tensor, member: Tensor) -> Tensor:
        """Return the scalar loss of the classifier.

        Args:
            fake_members: Its logits (N, K) of generated images.
            member: Which generator made each, rows (N, K) with a 1.
        """
        if fake_members.shape[1] != member.shape[1]:
            raise gancore.GancoreError(
                f"the classifier tells {fake_members.shape[1]} generators apart, and the latent has {member.shape[1]}; set "
                "heads.members.generators and latent.generators alike."
            )
        return F.cross_entropy(fake_members, member)

    def generator(self, *, fake_members: Tensor, member: Tensor) -> Tensor:
        """Return the scalar loss of the generators, `beta` times that of the classifier."""
        return self.beta * self.discriminator(fake_members=fake_members, member=member)

"""The base classes of networks, of the heads that a discriminator carries, and of what a generator starts from."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, ClassVar

import attrs
import torch
from torch import Tensor, nn


class Network(nn.Module):
    """Base of all networks. A network may define ``project_(self)``, called without gradient after each of its steps."""

    frozen_needs_weights: ClassVar[bool] = True
    """Whether a recipe that does not train the network must say where its weights come from."""

    groups: ClassVar[bool] = False
    """Whether it takes, and a generator makes, groups of images (N, k, C, H, W) where `Sampler.group` draws them."""

    def __init_subclass__(cls, **settings: Any) -> None:
        super().__init_subclass__(**settings)
        if "initialise" in vars(cls):
            raise TypeError(f"{cls.__name__}.initialise would never be called; it is spelled initialize")

    def initialize(self, real: Tensor, noise: torch.Generator) -> None:
        """Set parameters and buffers by the images (N, C, H, W) of the first batch, where the network is trained.

        Called once before the first step, in training mode and without gradient; for virtual batch norm and for
        initialization by data. What is drawn is drawn from `noise`.
        """


class Generator(Network):
    """Latent to image.

    Attributes:
        latent_dim: Width of the latent.
    """

    latent_dim: int

    def forward(self, z: Tensor, label: Tensor | None = None) -> Tensor:
        """Map latents (N, latent_dim) and labels (N,) to images (N, C, H, W) in [-1, 1]; unconditional ones ignore labels.

        Where one does, which core measures, no loss term and no head that reads labels may enter its loss.
        """
        raise NotImplementedError


class Translator(Generator):
    """Image to image: a generator that makes its images out of the batch's real ones; for samples, out of the data's."""

    def forward(self, z: Tensor, label: Tensor | None = None, *, images: Tensor | None = None) -> Tensor:
        """Call `translate`; core gives `images`."""
        if images is None:
            raise ValueError(f"{type(self).__name__} translates images, and was given none")
        return self.translate(images, z, label)

    def translate(self, images: Tensor, z: Tensor, label: Tensor | None) -> Tensor:
        """Map images (N, C, H, W) in [-1, 1], with latents (N, latent_dim) and labels (N,), to images of the same shape."""
        raise NotImplementedError


class Discriminator(Network):
    """Backbone of a discriminator: image to features. Heads turn the features into logits.

    Attributes:
        features: Width F of what `forward` returns.
        spectral_norm: Whether its layers, and so its heads, are spectrally normalized.
        batch_statistics: Whether an image's features depend on the rest of its batch (batch norm). Where they do, real and
            generated images go through in two batches instead of one, and no sampler may join others to the generated ones.
    """

    features: int
    spectral_norm: bool = False
    batch_statistics: ClassVar[bool] = False

    def forward(self, x: Tensor) -> Tensor:
        """Map images (N, C, H, W) to features (N, F). One whose signature has ``label`` is given labels (N,) as well."""
        raise NotImplementedError

    def hidden_layers(self) -> Sequence[nn.Module]:
        """Return the modules whose outputs are ``<side>_activations``, and whose inputs are ``<side>_preactivations``.

        By default every activation function, in order.
        """
        kinds = (nn.ReLU, nn.LeakyReLU, nn.ELU, nn.SiLU, nn.GELU, nn.Tanh, nn.Softplus)
        return [module for module in self.modules() if isinstance(module, kinds)]


class Classifier(Network):
    """Image to class logits, by way of features.

    Attributes:
        features: Width F of the features.
        classes: Number of classes K.
    """

    features: int
    classes: int

    def embed(self, x: Tensor) -> Tensor:
        """Map images (N, C, H, W) in [-1, 1] to features (N, F), the input of the last linear layer."""
        raise NotImplementedError

    def classify(self, features: Tensor) -> Tensor:
        """Map features (N, F) to logits (N, K)."""
        raise NotImplementedError

    def forward(self, x: Tensor) -> Tensor:
        """Map images (N, C, H, W) in [-1, 1] to logits (N, K)."""
        return self.classify(self.embed(x))


class Head(nn.Module):
    """What the discriminator says about its features.

    Its recipe label names its output: ``[heads.classes]`` gives ``real_classes`` and ``fake_classes``. Constructor
    arguments ``features`` and ``classes`` come from core.
    """

    gives_classes: ClassVar[bool] = False
    """Whether its output is logits of the classes (N, K) whatever the label, so that it makes D a classifier."""

    batch_statistics: ClassVar[bool] = False
    """Whether an image's output depends on the rest of its batch (batch norm, minibatch statistics), as for `Discriminator`.
    Where it does, the head is given the features of one side at a time, in every turn."""

    def forward(self, features: Tensor, label: Tensor) -> Tensor:
        """Map features (N, F) and labels (N,) int64 to the head's output: (N,) for a logit, (N, K) for class logits."""
        raise NotImplementedError


@attrs.frozen
class Latents:
    """What a generator makes a batch of images from.

    Attributes:
        z: Latents (N, latent_dim), codes included, for they are what the generator sees.
        label: Labels (N,), or rows of attributes (N, A), int64; left out where core shall draw them, as `Latent.labels` says.
        codes: Parts of `z`, or what decided it, by name, each of N rows; a loss term asks for them by these names.
    """

    z: Tensor
    label: Tensor = attrs.field(factory=lambda: torch.empty(0, dtype=torch.int64))
    codes: Mapping[str, Tensor] = attrs.field(factory=dict)


class Latent(nn.Module):
    """The distribution of latents and labels: one for training, samples and scores. Its buffers are saved and restored.

    A label of which there is no image to train on is never asked for: of a latent that goes with any label, core draws another
    in its place; one that draws such a label to go with its `z` is refused.
    """

    codes: ClassVar[Collection[str]] = ()
    """Names of the codes that `draw` gives: lower-case letters and digits."""

    labels: str = "of the latent"
    """How the labels are distributed. Those that `draw` leaves out are as frequent as in the data where this is ``"data"``;
    otherwise each that occurs there is as frequent as any other. Of others, a word or two for the protocol of scores."""

    network: str | None = None
    """Recipe label of the frozen network that `draw` reads as ``self.read``, if any: a causal model, an encoder."""

    read: Any

    any_label: ClassVar[bool] = True
    """Whether `z` goes with any label, so that images of a class that somebody asks for may be made from it."""

    def draw(self, number: int, noise: torch.Generator) -> Latents:
        """Return latents for `number` images, drawn from `noise`, on its device.

        Of several processes each draws those of all and keeps its rows, so this depends on nothing but its arguments and
        buffers.
        """
        raise NotImplementedError

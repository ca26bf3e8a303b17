"""The base classes that an author subclasses.

A component is plain PyTorch. Its keyword-only constructor arguments, with annotations and defaults, are its settings;
its buffers are its state. What it computes with, it asks for by name: the keyword-only parameters of its methods are
looked up in the step's vocabulary (`gancore.plan`), as pytest looks up fixtures:

==============================  =====================================================================================
``z``, ``fake_label``           latent (N, latent_dim) and labels (N,) int64 given to the generator
``real``, ``real_label``        images of the data, (N, C, H, W) float32 in [-1, 1], and labels (N,) int64
``fake``                        the generator's images as they are, (N, C, H, W) in [-1, 1]
``negatives``                   images that the discriminator must call fake, from samplers; part of ``fake_view``
``<source>``, ``<source>_label``  images and labels of a further stream, ``[sources.<source>]`` in the recipe; what is written
                                with ``real_`` below goes for ``<source>_`` too
``real_view``, ``fake_view``    what the discriminator sees: after samplers, attacks and augmentation, in that order; where
                                it stands on a classifier's features (``on``), those, as (N, F, 1, 1)
``real_<head>``, ``fake_<head>``  the discriminator's heads on the views, float32; ``<head>`` is the head's recipe label
``<side>_features``             the discriminator's features (N, F); ``<side>_activations`` the list of hidden ones
``real_<net>``, ``fake_<net>``  output of another network (frozen, or a further player) on ``real`` or ``fake``;
                                ``real_<net>_features`` its features
``iteration``                   0-d int64 tensor, the current iteration
``noise``                       a `torch.Generator`, seeded for this component, iteration and turn; what is drawn for each
                                image is drawn by `gancore.rand` or `gancore.randn`
==============================  =====================================================================================

In the discriminator's phase ``fake_label`` also covers ``negatives``, so that labels always align with the views.
A parameter with a default is optional: it gets the tensor where the recipe provides it and the default where not.

Some constructor arguments need not be set by a recipe, because core knows them: ``classes``, ``channels``,
``image_size``, ``latent_dim``, ``features`` (heads: width of the discriminator's features), ``spectral_norm`` (heads: as
the discriminator), ``batch_size`` (of all processes together), ``iterations`` and ``class_counts`` (training images per
class, after samplers). A component that names one of them gets it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import attrs
import torch
from torch import Tensor, nn
from torch.nn import functional as F

# dynamo looks for what attrs' constructor of `Drawn` compares with in this module; without it no sampler's draw compiles.
NOTHING = attrs.NOTHING

if TYPE_CHECKING:
    from gancore.run import Run


class LossTerm(nn.Module):
    """One idea of one paper, on any side of the game.

    Implement a method named after each player whose loss it enters, usually ``discriminator(self, *, ...)``,
    ``generator(self, *, ...)``, or both, with keyword-only parameters from the vocabulary. Return a scalar. Core multiplies
    it by ``weight`` and adds; ``weight``, ``every``, ``start``, ``stop`` and ``reads`` belong to every term and are handled by
    core.

    A term never calls ``backward``, an optimizer, another model, or ``.item()``. Terms commute.

    Optional methods, each with parameters from the vocabulary:

    - ``observe(self, *, ...)``: runs without gradient after the step of each player in whose loss the term takes part,
      for statistics kept in buffers.
    - ``attacked(self, *, ...)``, ``attacked_fake(self, *, ...)``: one value per image (N,); what an attack on the real
      (generated) images that the discriminator or the classifier sees raises. Terms without it take no part in an attack.
    - ``monitor(self) -> dict[str, Tensor]``: small tensors to log, read only when a log line is written.
    - ``project(self, player: str, parameters: list[Tensor])``: changes parameters in place after the step of each player
      in whose loss it takes part (weight clipping).
    """

    differentiates: ClassVar[frozenset[str] | set[str]] = frozenset()
    """Names of views (``real_view``, ``fake_view``, or an extra view) with respect to which the term takes gradients."""

    per_image: ClassVar[frozenset[str] | set[str]] = frozenset()
    """Names of buffers (N, ...) with a row for each image of a batch, as for `Attack`."""

    extra_views: ClassVar[Mapping[str, str]] = {}
    """Further images that the discriminator shall see, for this term alone: ``{"mixed": "interpolate"}`` calls
    ``self.interpolate(...)`` for images (N, C, H, W), and the term may then ask for ``mixed_view`` and ``mixed_<head>``."""


class Network(nn.Module):
    """Base of all networks. A network may define ``project_(self)``, called without gradient after each of its steps."""

    frozen_needs_weights: ClassVar[bool] = True
    """Whether a recipe that does not train the network must say where its weights come from."""


class Generator(Network):
    """Latent to image.

    Attributes:
        latent_dim: Width of the latent.
    """

    latent_dim: int

    def forward(self, z: Tensor, label: Tensor | None = None) -> Tensor:
        """Map latents (N, latent_dim) and labels (N,) to images (N, C, H, W) in [-1, 1]; unconditional ones ignore labels."""
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
        spectral_norm: Whether its layers, and so its heads, are spectrally normalised.
        batch_statistics: Whether an image's features depend on the rest of its batch (batch norm). Where they do, real and
            generated images go through in two batches instead of one.
    """

    features: int
    spectral_norm: bool = False
    batch_statistics: ClassVar[bool] = False

    def forward(self, x: Tensor) -> Tensor:
        """Map images (N, C, H, W) to features (N, F)."""
        raise NotImplementedError

    def hidden_layers(self) -> Sequence[nn.Module]:
        """Return the modules whose outputs are ``<side>_activations``; by default every activation function, in order."""
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

    def forward(self, features: Tensor, label: Tensor) -> Tensor:
        """Map features (N, F) and labels (N,) int64 to the head's output: (N,) for a logit, (N, K) for class logits."""
        raise NotImplementedError


@attrs.define
class Drawn:
    """A drawn batch of data, as samplers see it. A sampler returns a changed copy (`attrs.evolve`).

    Attributes:
        real: Images (N, C, H, W) float32 in [-1, 1].
        real_label: Labels (N,) int64.
        negatives: Images that the discriminator must call fake, or None. They *replace* as many generated images, so that
            the fake minibatch keeps its size (DSGAN, appendix C).
        negatives_label: Their labels.
        negatives_share: None, or their share alpha of the discriminator's loss. Then there are as many of them as of real
            images, and they replace none: the loss is (1 - alpha) times that of real against generated images plus alpha
            times that of real images against negatives (DSGAN, Eq. 2).
        partner: None, or images (N, C, H, W) that the real ones are blended with where the discriminator sees them: in the
            space of images, or of the features that it stands on.
        share: Share (N,) of each real image in its blend.
        sources: Images and labels of each further stream of the recipe, as many as of real ones.
    """

    real: Tensor
    real_label: Tensor
    negatives: Tensor | None = None
    negatives_label: Tensor | None = None
    negatives_share: float | None = None
    partner: Tensor | None = None
    share: Tensor | None = None
    sources: Mapping[str, tuple[Tensor, Tensor]] = attrs.field(factory=dict)


class Sampler(nn.Module):
    """Which data take part, and what becomes of a drawn batch. Override any of the methods.

    `select` and `weights` are about the recipe's data, or about one of its sources where the recipe's key ``of`` names it.
    """

    gives_negatives: ClassVar[bool] = False
    """Whether `draw` adds negatives to the batch."""

    gives_share: bool = False
    """Whether those negatives have a share of the loss of their own, for the counts of ``gancore explain``."""

    gives_partner: bool = False
    """Whether `draw` blends the real images with others, for the counts of ``gancore explain``."""

    def reads(self) -> Collection[str]:
        """Return the labels of the sources that `draw` reads; a recipe without one of them is refused."""
        return ()

    def select(self, labels: Tensor, seed: int) -> Tensor:
        """Return the indices (M,) int64 of the items that take part, of `labels` (N,). Called once, on the CPU.

        Args:
            labels: Labels of the items that earlier samplers left.
            seed: The run's seed, for a choice at random.
        """
        return torch.arange(len(labels))

    def weights(self, labels: Tensor) -> Tensor | None:
        """Return how often each item is drawn, relative (N,) float64, or None for every item once per epoch."""
        return None

    def draw(self, batch: Drawn, noise: torch.Generator) -> Drawn:
        """Return what becomes of a drawn batch (noise, mixtures, negatives)."""
        return batch

    def view(self, images: Tensor, noise: torch.Generator) -> Tensor:
        """Return what stands between an image, real or fake, and the discriminator; differentiable."""
        return images


class Attack(nn.Module):
    """Perturbs the images that the discriminator sees (or, where there is none, the classifier), within a budget.

    The real images, unless the recipe's key ``sides`` says otherwise.

    ``gradient = "own"``: implement `craft`; it takes its own gradients by ``torch.autograd.grad`` and leaves everything else
    alone. ``gradient = "shared"``: implement `perturb` and `update`; the perturbed images are a leaf, and the gradient that
    the discriminator's one backward leaves on them is handed back (free adversarial training). ``gradient = "logits"``:
    implement `fool`; it needs a classifier's logits, so it attacks in evaluation only.
    """

    gradient: ClassVar[str] = "own"

    per_image: ClassVar[frozenset[str] | set[str]] = frozenset()
    """Names of buffers (N, ...) with a row for each image of a batch, N being ``batch_size``. Of several processes each keeps
    the rows of its own images."""

    def craft(self, x: Tensor, objective: Callable[[Tensor], Tensor], noise: torch.Generator) -> Tensor:
        """Return adversarial images for `x` (N, C, H, W).

        Args:
            x: Clean images.
            objective: Maps images to one value per image (N,), to be raised. The network is in eval mode.
            noise: Generator for a random start.
        """
        raise NotImplementedError

    def fool(self, x: Tensor, label: Tensor, classify: Callable[[Tensor], Tensor], noise: torch.Generator) -> Tensor:
        """Return images that a trained classifier shall misclassify, for evaluation.

        By default `craft`, raising the cross entropy; an attack that works on logits overrides it.

        Args:
            x: Clean images (N, C, H, W).
            label: Their classes (N,) int64.
            classify: Maps images to logits (N, K).
            noise: Generator for a random start.
        """
        return self.craft(x, lambda images: F.cross_entropy(classify(images), label, reduction="none"), noise)

    def perturb(self, x: Tensor) -> Tensor:
        """Return what the discriminator sees instead of `x`; no gradient flows through this call."""
        raise NotImplementedError

    def update(self, grad: Tensor, x: Tensor) -> None:
        """Learn from the gradient of the discriminator's loss with respect to what it saw.

        Args:
            grad: Same shape as `x`.
            x: The clean images.
        """
        raise NotImplementedError


class Loop:
    """An update rule: ordinary Python that says which phases run, on which batches. It knows phases, never terms.

    Attributes:
        players: The networks that are trained, by recipe label. Every other network of a recipe is frozen.
        captures: Whether the calls are the same in every iteration, so that one may stand for all (``run.cuda_graph``).
    """

    captures: ClassVar[bool] = False
    players: Sequence[str] = ("generator", "discriminator")

    def iteration(self, run: Run) -> None:
        """Run one iteration by calling ``run.fresh()``, ``run.renew(batch)`` and ``run.phase(player, batch)``."""
        raise NotImplementedError


@attrs.frozen
class DatasetInfo:
    """What is known of an image set before an image is read.

    Attributes:
        classes: Number of classes K.
        channels: Number of channels C.
        image_size: Height and width, in pixels, after resizing.
        class_names: One name per class.
        continuous: Whether `Dataset.load` gives float32 in [-1, 1] instead of 8-bit pixels (points in the plane).
    """

    classes: int
    channels: int
    image_size: int
    class_names: tuple[str, ...] = ()
    continuous: bool = False


class Dataset:
    """A set of labelled images. Building one reads no image; a missing folder raises `GancoreError` in `load`."""

    @property
    def info(self) -> DatasetInfo:
        """What is known before an image is read."""
        raise NotImplementedError

    def load(self, split: str) -> tuple[Tensor, Tensor]:
        """Return images (N, C, H, W) uint8 and labels (N,) int64 of a split, ``"train"`` or ``"test"``.

        Where `info` says that they are continuous, they are float32 in [-1, 1] instead. The images may be a memory-mapped
        tensor; core moves them to the device where they fit.
        """
        raise NotImplementedError


class Metric:
    """A score of generated images. One stream of generated images feeds all metrics of a recipe.

    The parameters of `update_real` and `update` are keyword-only names from: ``images`` (N, C, H, W) float32 in [-1, 1],
    ``labels`` (N,), ``logits`` (N, K) and ``features`` (N, F) of the network that the setting ``network`` names. A metric
    without ``update_real`` never has the real images read. Every value that `compute` returns is stored with the protocol.

    Optional methods, which only a metric with both ``update`` and ``update_real`` makes use of:

    - ``real_state(self) -> dict[str, Tensor]``: everything that ``update_real`` has taken in, as contiguous tensors that share
      no memory (so that safetensors can hold them), by name.
    - ``load_real_state(self, state: Mapping[str, Tensor]) -> None``: takes that in place of the real images, which the metric
      then never sees. Core gives the tensors on the run's device. Scores must be the same to the last bit; a state that is
      none of the metric's raises `GancoreError`.

    A metric that lacks either has its real images read anew in every process. The state may depend on the settings only where
    `protocol` tells them.

    What needs more than batches of images, e.g. gradients of a classifier, has instead of ``update_real``, ``update``, `reset`
    and `compute`:

    - ``score_run(self, run: Run) -> dict[str, Any]``: returns the scores of a run's present weights. It leaves the run as it
      was: weights, modes, gradients and random state. `protocol` is asked for afterwards.
    - ``prepare(self, run: Run) -> None`` (optional): called once, before any training, to refuse what `score_run` would refuse.
    """

    network: str | None = None
    """Recipe label of the frozen classifier whose logits and features the metric uses, if any."""

    better: ClassVar[Mapping[str, str]] = {}
    """For each value of `compute`, ``"lower"`` or ``"higher"``, for reports. An instance may have its own."""

    def reset(self) -> None:
        """Forget the generated images (not the real statistics)."""
        raise NotImplementedError

    def protocol(self) -> dict[str, Any]:
        """Return the settings that make two values comparable, beyond those that core adds itself."""
        return {}

    def compute(self) -> dict[str, Any]:
        """Return the scores: numbers, or lists of numbers for a histogram."""
        raise NotImplementedError

"""The base classes that an author subclasses.

A component is plain PyTorch. Its keyword-only constructor arguments, with annotations and defaults, are its settings;
its buffers are its state. What it computes with, it asks for by name: the keyword-only parameters of its methods are
looked up in the step's vocabulary (`gancore.plan.vocabulary`), as pytest looks up fixtures:

==============================  =====================================================================================
``z``, ``fake_label``           latent (N, latent_dim) and labels (N,) int64 given to the generator
``real``, ``real_label``        images of the data, (N, C, H, W) float32 in [-1, 1], and labels (N,) int64
``fake``                        the generator's images as they are, (N, C, H, W) in [-1, 1]
``<side>``, ``<side>_label``    images and labels of a further side: a source, ``[sources.<side>]`` in the recipe, or one
                                that a sampler or the loop adds; what is written with ``real_`` below goes for ``<side>_`` too
``real_view``, ``fake_view``    what the discriminator sees: after samplers, attacks and augmentation, in that order; where
                                it stands on a classifier's features (``on``), those, as (N, F, 1, 1)
``real_<head>``, ``fake_<head>``  the discriminator's heads on the views, float32; ``<head>`` is the head's recipe label
``<side>_features``             the discriminator's features (N, F); ``<side>_activations`` the list of hidden ones, after the
                                nonlinearity, and ``<side>_preactivations`` of those before it
``real_<net>``, ``fake_<net>``  output of another network (frozen, or a further player) on ``real`` or ``fake``;
                                ``real_<net>_features`` its features
``iteration``                   0-d int64 tensor, the current iteration
``player``, ``parameters``      label of the network whose turn it is, and the list of its parameters, heads included
``noise``                       a `torch.Generator`, seeded for this component, iteration and turn; what is drawn for each
                                image is drawn by `gancore.rand` or `gancore.randn`
==============================  =====================================================================================

In the discriminator's phase ``fake_view`` and ``fake_label`` also cover the images that samplers join to ``fake``.
A parameter with a default is optional: it gets the tensor where the recipe provides it and the default where not.

Some constructor arguments need not be set by a recipe, because core knows them: ``classes``, ``attributes``, ``channels``,
``image_size``, ``latent_dim``, ``features`` (heads: width of the discriminator's features), ``spectral_norm`` (heads: as
the discriminator), ``batch_size`` (of all processes together), ``iterations``, ``class_counts`` (training images per
class, after samplers) and ``group_size`` (images of a sample, 1 where no sampler says ``group``). A component
that names one of them gets it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from torch import nn


class LossTerm(nn.Module):
    """One idea of one paper, on any side of the game.

    Implement a method named after each player whose loss it enters, usually ``discriminator(self, *, ...)``,
    ``generator(self, *, ...)``, or both, with keyword-only parameters from the vocabulary. Return a scalar, or a pair of it and
    a dictionary of tensors, which the term's own `observe` then asks for by their names. Core multiplies it by ``weight`` and
    adds; ``weight``, ``every``, ``start``, ``stop``, ``players`` and ``reads`` belong to every term, and core handles them.

    A term never calls ``backward``, an optimizer, another model, or ``.item()``. Terms commute. Its own ``nn.Parameter`` are
    trained with the player whose loss it enters, by that player's optimizer; where it enters several, with the first of them in
    the loop's order (`gancore.Loop.players`), whose turn alone then changes them. What shall not be trained is a buffer, or has
    ``requires_grad_(False)``.

    Optional methods, each with parameters from the vocabulary:

    - ``observe(self, *, ...)``: runs without gradient after the step of each player in whose loss the term takes part,
      for statistics kept in buffers.
    - ``prepare(self, *, player, parameters)``, with either or both: runs once for each player in whose loss the term takes
      part, when the player is built, before a checkpoint is restored, e.g. to register buffers like its parameters; once
      more where networks start from data (`Network.initialize`).
    - ``attacked(self, *, ...)``, ``attacked_fake(self, *, ...)``: one value per image (N,); what an attack on the real
      (generated) images that the discriminator or the classifier sees raises. Terms without it take no part in an attack.
    - ``monitor(self) -> dict[str, Tensor]``: small tensors to log, read only when a log line is written.
    - ``project(self, player: str, parameters: list[Tensor])``: changes the parameters of a player's network and heads in place
      after each step of a player in whose loss it takes part (weight clipping).
    """

    differentiates: ClassVar[frozenset[str] | set[str]] = frozenset()
    """What the term takes gradients with respect to: views (``real_view``, ``fake_view``, or an extra view), or the images of a
    side before anything is done to them (``real``, ``fake``)."""

    mean_over_images: ClassVar[bool] = True
    """Whether it is a mean over the images of each side, or over pairs of a real and a generated one, so that its value for a
    mixture of images is the mixture of its values. What compares the images of one side with each other, or takes statistics
    of a batch to a function that is not linear, is not. It is then refused where others stand in the place of the generated
    images (``reads``); where a sampler joins them (`gancore.Drawn.joined`), it is of the mixture."""

    per_image: ClassVar[frozenset[str] | set[str]] = frozenset()
    """Names of buffers (N, ...) with a row for each image of a batch, as for `Attack`."""

    extra_views: ClassVar[Mapping[str, str]] = {}
    """Further images that the discriminator shall see, for this term alone: ``{"mixed": "interpolate"}`` calls
    ``self.interpolate(...)`` for images (N, C, H, W), and the term may then ask for ``mixed_view`` and ``mixed_<head>``."""

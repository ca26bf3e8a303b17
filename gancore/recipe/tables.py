"""The tables of a recipe whose keys core handles. Needs no torch."""

from __future__ import annotations

from typing import Annotated, Literal

import attrs

from gancore.contract import Range

_Count = Annotated[int, Range(1)]
_Number = Annotated[int, Range(0)]


@attrs.frozen(kw_only=True)
class RunSettings:
    """The ``[run]`` table.

    Attributes:
        iterations: Length of the training.
        batch_size: Images per batch; several processes share them out evenly.
        seed: Seeds every draw and the initial weights.
        precision: ``auto`` takes bfloat16 where the hardware has instructions for it, float32 elsewhere.
        accelerate: Accelerators that run the iterations in another way, applied in this order; ``environment.json`` says of
            each whether it does, or why not. No part of the recipe's identity.
        workers: Processes that read images ahead, where they are read by index; by default what suits the machine.
        observers: Plugins that observe the training, beside those that have a component in the recipe and what the command line
            names. No part of the recipe's identity.
        latent_dim: Width of the latent.
        log_every: Iterations between lines of the log.
        sample_every: Iterations between sample grids; 0 for only the last.
        checkpoint_every: Iterations between checkpoints; 0 for only the last.
        evaluate_every: Iterations between evaluations; 0 for only the last.
        keep_checkpoints: How many of the newest checkpoints are kept; 0 keeps all.
        keep_best: A score, e.g. ``fid/fid``, of whose evaluations the best one's checkpoint is kept too.
    """

    iterations: _Count = 100_000
    batch_size: _Count = 64
    seed: _Number = 0
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    accelerate: list[str] = attrs.field(factory=list)
    workers: Annotated[int, Range(0, 64)] | None = None
    observers: list[str] = attrs.field(factory=list)
    latent_dim: _Count = 128
    log_every: _Count = 100
    sample_every: _Number = 1000
    checkpoint_every: _Number = 1000
    evaluate_every: _Number = 0
    keep_checkpoints: _Number = 2
    keep_best: str = ""

    def due(self, every: int, iteration: int) -> bool:
        """Return whether what is done at an interval, and after the last iteration, is due after so many."""
        return iteration == self.iterations or (every > 0 and iteration % every == 0)


@attrs.frozen(kw_only=True)
class Augmentation:
    """Keys of the ``[data]`` table that core handles for every image set.

    Attributes:
        flip: Mirror each image at random.
        crop_padding: Pad by so many pixels and crop at random.
    """

    flip: bool = False
    crop_padding: _Number = 0


@attrs.frozen(kw_only=True)
class Average:
    """The ``[ema]`` table: exponential moving average of the generator.

    Attributes:
        decay: Share of the old average kept per iteration.
        start: Iteration from which it averages; an exact copy before.
        further: Further averages by name, with their decays, e.g. ``{slow = 0.9999}``; samples and scores may be of them.
    """

    decay: Annotated[float, Range(0, 1)] = 0.999
    start: _Number = 0
    further: dict[str, Annotated[float, Range(0, 1)]] = attrs.field(factory=dict)


@attrs.frozen(kw_only=True)
class Evaluation:
    """The ``[evaluation]`` table: the one stream of generated images that feeds every metric.

    Attributes:
        samples: Number of generated images.
        batch_size: Images per batch; part of no protocol, for batch norm is in evaluation mode.
        split: Real images that are compared with.
        seed: Seed of the latents.
        weights: The generator's moving average, a further one by its name, or its live weights.
    """

    samples: Annotated[int, Range(2)] = 10_000
    batch_size: _Count = 250
    split: Literal["train", "test"] = "test"
    seed: _Number = 0
    weights: str = "ema"


@attrs.frozen(kw_only=True)
class TermKeys:
    """Keys that every loss term takes.

    Attributes:
        weight: What its value is multiplied by; 0 is the same as absent.
        every: Take part only in every so-manieth iteration.
        start: First iteration in which it takes part.
        stop: First iteration in which it no longer does.
        players: Players in whose losses it takes part; by default all that it has a loss for.
        reads: Sides, networks and heads that its parameters name -> those of the recipe to read in their place, e.g.
            ``{classifier = "vgg"}`` for a term that asks for ``fake_classifier``, or ``{fake = "avoid"}`` for the same loss on
            the images of the source ``avoid``.
    """

    weight: float = 1.0
    every: _Count = 1
    start: _Number = 0
    stop: _Number | None = None
    players: list[str] | None = None
    reads: dict[str, str] = attrs.field(factory=dict)

    def active(self, iteration: int) -> bool:
        """Return whether the term takes part in an iteration."""
        ended = self.stop is not None and iteration >= self.stop
        return self.weight != 0 and iteration >= self.start and not ended and (iteration - self.start) % self.every == 0


@attrs.frozen(kw_only=True)
class HeadKeys:
    """Keys that every head and network takes.

    Attributes:
        weights: A safetensors file to start from.
        trained_by: A recipe that trains these weights when they are not there yet; without effect beside `weights`.
        inherits: Tables of this recipe that take the place of the training recipe's, e.g. ``["data", "samplers"]``, also where
            they are empty; of the data which images there are, of the samplers those that choose among them. How images are
            augmented belongs to each training.
        trained_with: ``KEY=VALUE`` texts that change the training recipe, e.g. ``["run.seed=1"]``.
    """

    weights: str | None = None
    trained_by: str | None = None
    inherits: list[str] = attrs.field(factory=lambda: ["data"])
    trained_with: list[str] = attrs.field(factory=list)


@attrs.frozen(kw_only=True)
class NetworkKeys(HeadKeys):
    """Keys that every network takes beside those of a head.

    Attributes:
        on: For a discriminator, the label of the classifier whose features it sees in place of images.
        input_mean: Per channel, on the [0, 1] scale: with `input_std`, the network's own normalization of its input.
        input_std: Per channel, on the [0, 1] scale.
    """

    on: str | None = None
    input_mean: list[float] | None = None
    input_std: list[Annotated[float, Range(0, open_low=True)]] | None = None


@attrs.frozen(kw_only=True)
class AttackKeys:
    """Keys that every attack takes.

    Attributes:
        sides: Whose images it perturbs before the player sees them.
    """

    sides: list[Literal["real", "fake"]] = attrs.field(factory=lambda: ["real"])


@attrs.frozen(kw_only=True)
class SamplerKeys:
    """Keys that every sampler takes.

    Attributes:
        of: Label of the source from which it selects; by default it selects from the data.
    """

    of: str | None = None


GROUPS = {
    "sources": "dataset",
    "samplers": "sampler",
    "networks": "network",
    "heads": "head",
    "losses": "loss",
    "attacks": "attack",
    "optimizers": "optimizer",
    "metrics": "metric",
}
"""Tables that hold labeled components -> their kind."""

SINGLE = {"data": "dataset", "loop": "loop", "latent": "latent"}
"""Tables that are one component -> its kind."""

DEFAULTS = {"loop": "standard/alternating", "latent": "standard/normal", "optimizers": "standard/adam"}
"""Tables whose `use` may be left out -> the component that then stands in them."""

KEYS: dict[str, type] = {
    "data": Augmentation,
    "losses": TermKeys,
    "networks": NetworkKeys,
    "heads": HeadKeys,
    "attacks": AttackKeys,
    "samplers": SamplerKeys,
}
"""Tables of components -> the keys that core handles beside a component's own settings."""

SCHEDULED = {"losses": "weight", "optimizers": "lr"}
"""Tables whose components may have a ``schedule`` -> the number that it changes."""

TABLES = (*GROUPS, *SINGLE, "run", "ema", "evaluation")

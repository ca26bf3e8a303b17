"""The protocol `Run`, and what is called with it: update rules, scores and, with its iteration, schedules."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Protocol, Self

import torch
from torch import Tensor, nn

from gancore.contract.data import Rows
from gancore.contract.networks import Latents

Factor = Callable[[int], float]
"""Maps an iteration, from 0, to what a number of the recipe is multiplied by.

A pure function of the iteration, so that nothing need be saved.
"""


class Player(Protocol):
    """What is trained together in a turn.

    Attributes:
        name: Its label in the recipe.
        network: The network.
        parameters: What its turn trains: its network's, those of the heads that a discriminator carries, and of loss terms.
        optimizer: Their optimizer.
    """

    name: str
    network: Any
    parameters: list[nn.Parameter]
    optimizer: torch.optim.Optimizer


class Run(Protocol):
    """Everything alive in one training, as a `gancore.Loop`, a `gancore.Metric` and an observer may use it.

    Attributes:
        iteration: The current iteration, from 0; after training, their number.
        device: Where it computes.
        seed: Seeds every draw and the initial weights.
        networks: Every network by recipe label.
        heads: The discriminator's heads by recipe label.
        recipe: The checked recipe, with its `name`.
        folder: Where the run is kept, or None where it is not.
        plan: The checked plan, with `info`, a `gancore.DatasetInfo`, and the `dataset`.
        losses: The newest value of every loss on this process's images, ``player/label`` -> 0-d tensor.
    """

    iteration: int
    device: torch.device
    seed: int
    networks: dict[str, Any]
    heads: dict[str, Any]
    recipe: Any
    folder: Path | None
    plan: Any
    losses: dict[str, Tensor]

    @property
    def players(self) -> Mapping[str, Player]:
        """What is trained, by recipe label."""

    def fresh(self) -> Any:
        """Draw a new batch: images, labels, latents. Of several processes each gets its rows of what one would draw."""

    def renew(self, batch: Any, number: int | None = None) -> Any:
        """Return the batch with the same images and new latents: `number` over all processes, by default one for each image.

        Raises:
            GancoreError: Another number than of images, and something in the recipe pairs them.
        """

    def phase(self, player: str, batch: Any, pieces: int = 1) -> None:
        """Take a player's turn on a batch. A player none of whose terms is active in this iteration does nothing.

        In several pieces it needs less memory. Their gradients are added before the one step, and are those of the whole batch,
        but for rounding and for what is drawn for each image (dropout, noise).

        Raises:
            GancoreError: They would not be: by batch norm, by a term that is no mean over images or observes, and the like.
        """

    def latent(self, number: int, *purpose: str | int) -> Latents:
        """Return latents for so many images, the same whenever they are drawn for the same purpose."""

    def generate(
        self, latents: Latents, weights: str = "ema", *, images: Rows | None = None, start: int = 0, total: int | None = None
    ) -> Tensor:
        """Return the images (N, C, H, W) float32 in [-1, 1] that the generator makes of latents in evaluation mode.

        Args:
            latents: Of N images; see `latent`.
            weights: ``ema`` for the generator's moving average, where there is one, the name of a further one, or ``live``.
            images: What a `gancore.Translator` makes its images of, evenly, for their order may be by class; by default the
                images that take part in the training.
            start: Place of the first image among all that are made so.
            total: How many are made so in all; by default N.

        Raises:
            GancoreError: There is no generator, or what it makes is not finite.
        """

    def build(self, kind: str, use: str, settings: Mapping[str, Any] | None = None, *, seed: int = 0) -> Any:
        """Return a component that is none of the recipe's, e.g. a classifier that a score trains, on the run's device.

        Args:
            kind: Its kind, e.g. ``network``.
            use: Its name, e.g. ``standard/small-cnn``.
            settings: Its settings; what core knows (``classes``, ``channels``) it supplies.
            seed: Of its initial weights, with the run's and the component's name. They draw from nothing else.

        Raises:
            GancoreError: There is no such component, or a setting is wrong.
        """


class Loop(nn.Module):
    """An update rule: ordinary Python that says which phases run, on which batches. It knows phases, never terms.

    What it remembers from one iteration to the next lies in its buffers, or is a number, a list or a table of numbers among its
    attributes: those are saved and restored. Anything else a checkpoint would forget, so that a training refuses it.

    Attributes:
        players: The networks that are trained, by recipe label. Every other network of a recipe is frozen.
    """

    players: Sequence[str] = ("generator", "discriminator")

    adds: ClassVar[Sequence[str]] = ()
    """Labels of sides that `iteration` adds to the batches of its phases; a term may ask for them as for those of sources."""

    reads_networks: ClassVar[bool] = False
    """Whether `iteration` uses networks that are not trained and that no loss term names, so that they decide the weights."""

    def __new__(cls, *_args: Any, **_settings: Any) -> Self:
        """Return a module that is one already, for the constructors of most loops have nothing to say to `nn.Module`."""
        loop = super().__new__(cls)
        nn.Module.__init__(loop)
        return loop

    def prepare(self, run: Run) -> None:
        """Register buffers whose shapes depend on the run, e.g. on its networks.

        Called before a checkpoint is restored, and anew once networks have been initialized by data.
        """

    def iteration(self, run: Run) -> None:
        """Run one iteration by calling ``run.fresh()``, ``run.renew(batch)`` and ``run.phase(player, batch)``."""
        raise NotImplementedError


class Metric:
    """A score of generated images. One stream of generated images feeds all metrics of a recipe.

    The parameters of `update_real` and `update` are keyword-only names from: ``images`` (N, C, H, W) float32 in [-1, 1],
    ``labels`` (N,), ``logits`` (N, K) and ``features`` (N, F) of the network that the setting ``network`` names; of generated
    images also ``z`` and the latent's codes, by their names. A metric
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

    generates: ClassVar[bool] = False
    """Whether `score_run` generates images, so that the protocol says how their labels are distributed."""

    least: int = 1
    """Fewest images, real ones and generated ones, from which it can be computed. An instance may have its own."""

    def reset(self) -> None:
        """Forget the generated images (not the real statistics)."""
        raise NotImplementedError

    def protocol(self) -> dict[str, Any]:
        """Return the settings that make two values comparable, beyond those that core adds itself.

        A ``warning`` among them, what is to be known of the values that `compute` gave, is shown with the scores.
        """
        return {}

    def compute(self) -> dict[str, Any]:
        """Return the scores: numbers, or lists of numbers for a histogram."""
        raise NotImplementedError

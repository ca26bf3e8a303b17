"""The plan: a recipe with its components loaded and checked, before any tensor exists.

Every conflict surfaces while it is made: a component that asks for a tensor nobody provides, a player without a loss, two
attacks, a setting out of range.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any, Generic, Literal, TypeVar, cast

import attrs
from torch import nn

from gancore.contract import (
    Attack,
    Classifier,
    Dataset,
    DatasetInfo,
    Factor,
    Generator,
    Head,
    Latent,
    Loop,
    LossTerm,
    Network,
    Sampler,
    complete,
    settings_of,
)
from gancore.errors import GancoreError, first_line, refusal
from gancore.recipe import AttackKeys, Entry, HeadKeys, NetworkKeys, Recipe, SamplerKeys, TermKeys
from gancore.registry import Registry

GENERATOR = "generator"
DISCRIMINATOR = "discriminator"

Seen = Literal["view", "features", "activations", "preactivations"]
Kind = Literal["batch", "images", "label", Seen, "head", "network", "embedding", "noise", "kept"]

C = TypeVar("C")
K = TypeVar("K")


@attrs.frozen
class Need:
    """What one parameter of a method stands for.

    Attributes:
        name: The parameter.
        kind: Where its value comes from.
        side: ``real``, ``fake``, a further generator's or a source's label, or a term's own extra view (``term:view``).
        label: The head or network that computes it, or the name of what the batch holds.
        key: Under what the value is found among those of its kind.
    """

    name: str
    kind: Kind
    side: str = ""
    label: str = ""
    key: str | tuple[str, str] = attrs.field(init=False)

    @key.default
    def _key(self) -> str | tuple[str, str]:
        return (self.label, self.side) if self.kind in ("head", "network", "embedding", "kept") else self.side or self.label


@attrs.frozen
class Planned(Generic[C, K]):
    """A component of the recipe, loaded and checked, and not built yet.

    Attributes:
        entry: Its place in the recipe.
        cls: Its class, or the function that makes it.
        settings: Its own settings, converted to the types that it declares.
        keys: The keys that core handles; None where its table has none.
        methods: Of a loss term, the needs of each method that takes part in this recipe, by name, and of what it
            ``differentiates``.
    """

    entry: Entry
    cls: Any
    settings: dict[str, Any]
    keys: K
    methods: Mapping[str, tuple[Need, ...]] = attrs.field(factory=dict)

    @property
    def label(self) -> str:
        """Its recipe label."""
        return self.entry.label

    @property
    def where(self) -> str:
        """Names its place for errors."""
        return self.entry.where

    @property
    def full_name(self) -> str:
        """``plugin/name``."""
        return self.entry.declared.full_name

    @property
    def values(self) -> dict[str, Any]:
        """Its settings, with the defaults of those that the recipe leaves out."""
        defaults = {name: setting.default for name, setting in settings_of(self.cls).items() if not setting.required}
        return {**defaults, **self.settings}

    def build(self, context: Mapping[str, Any], *first: Any) -> C:
        """Return the component, of its settings and what core knows; `first` are the parameters that an optimizer takes.

        Raises:
            GancoreError: A setting is missing, the constructor refuses its arguments, or the component has parameters that
                no player trains.
        """
        arguments = complete(self.cls, self.settings, where=self.where, context=context)
        try:
            built: C = self.cls(*first, **arguments)
        except GancoreError as error:
            raise GancoreError(f"{self.where}: {error}") from error
        except (ValueError, TypeError, RuntimeError) as error:
            raise GancoreError(f"{self.where} can't be built: {refusal(error) or first_line(error)[:200]}") from error
        idle = isinstance(built, nn.Module) and self.entry.group not in ("networks", "heads", "losses")
        if idle and any(parameter.requires_grad for parameter in cast(nn.Module, built).parameters()):
            raise GancoreError(
                f"{self.where} has parameters, which nothing would train: only networks, heads and loss terms are trained; its "
                "author must make buffers of them, or set requires_grad_(False)."
            )
        return built


Term = Planned[LossTerm, TermKeys]


@attrs.frozen
class Plan:
    """A checked recipe.

    Attributes:
        recipe: The recipe.
        registry: Where its components come from.
        accelerators: Full names and functions of the accelerators, in the order in which they are applied.
        dataset: The image set (built; no image is read).
        sources: The image set of each further stream of images; of one that draws from the recipe's own, that.
        loop: The update rule.
        players: Names of the trained networks, in the loop's order.
        networks: All networks.
        heads: The discriminator's heads.
        terms: The loss terms whose weight is not 0.
        samplers: The samplers, in order.
        attack: The attack, if any.
        latent: What draws the latents, or None without a generator.
        metrics: The metrics.
        optimizers: The optimizer of each player.
        schedules: Schedules by the place of the number that each changes, e.g. ``optimizers.generator.lr``.
    """

    recipe: Recipe
    registry: Registry
    accelerators: tuple[tuple[str, Callable[..., Any]], ...]
    dataset: Dataset
    sources: dict[str, Dataset]
    loop: Planned[Loop, None]
    players: tuple[str, ...]
    networks: dict[str, Planned[Network, NetworkKeys]]
    heads: dict[str, Planned[Head, HeadKeys]]
    samplers: dict[str, Planned[Sampler, SamplerKeys]]
    attack: Planned[Attack, AttackKeys] | None
    latent: Planned[Latent, None] | None
    metrics: dict[str, Planned[Any, None]]
    optimizers: dict[str, Planned[Any, None]]
    schedules: dict[str, Planned[Factor, None]]
    terms: dict[str, Term] = attrs.field(factory=dict)

    @functools.cached_property
    def info(self) -> DatasetInfo:
        """What is known of the image set."""
        return self.dataset.info

    @property
    def target(self) -> str | None:
        """The player that an attack attacks: the discriminator, or else the first classifier."""
        classifiers = [player for player in self.players if issubclass(self.networks[player].cls, Classifier)]
        return DISCRIMINATOR if DISCRIMINATOR in self.players else next(iter(classifiers), None)

    @property
    def sides(self) -> dict[str, str]:
        """Sides whose images are generated -> the generator's label; the main generator's side is ``fake``."""
        labels = [label for label, network in self.networks.items() if issubclass(network.cls, Generator)]
        return {"fake" if label == GENERATOR else label: label for label in labels}

    @property
    def codes(self) -> tuple[str, ...]:
        """Names of the latent's codes."""
        return () if self.latent is None else tuple(self.latent.cls.codes)

    @functools.cached_property
    def acting(self) -> dict[str, Sampler]:
        """The samplers that act on drawn batches, built to be asked of which sides."""
        return {label: sampler.build(self.context) for label, sampler in self.samplers.items() if sampler.keys.of is None}

    @property
    def group(self) -> int:
        """Images of one sample."""
        return max((sampler.group for sampler in self.acting.values()), default=1)

    @property
    def further(self) -> tuple[str, ...]:
        """Sides of images that are neither the data's nor generated: those of sources, and what samplers and the loop add."""
        return (*self.sources, *(side for sampler in self.acting.values() for side in sampler.adds), *self.loop.cls.adds)

    @property
    def joined(self) -> dict[str, str]:
        """Sides to which samplers join images in the discriminator's turn -> the place of such a sampler, for errors."""
        return {side: self.samplers[label].where for label, sampler in self.acting.items() for side in sampler.joins}

    @property
    def stands_on(self) -> str | None:
        """Label of the classifier whose features the discriminator sees, or None where it sees images."""
        return self.networks[DISCRIMINATOR].keys.on if DISCRIMINATOR in self.networks else None

    @property
    def batch_statistics(self) -> list[Planned[Any, Any]]:
        """Those of the discriminator's backbone and heads for which an image's output depends on the rest of its batch."""
        discriminator: list[Planned[Any, Any]] = [self.networks[DISCRIMINATOR]] if DISCRIMINATOR in self.networks else []
        return [planned for planned in (*discriminator, *self.heads.values()) if planned.cls.batch_statistics]

    @property
    def context(self) -> dict[str, Any]:
        """What core knows for constructors before the data are read."""
        run, info = self.recipe.run, self.info
        return {
            "classes": info.classes,
            "attributes": info.attributes,
            "channels": info.channels,
            "image_size": info.image_size,
            "latent_dim": run.latent_dim,
            "batch_size": run.batch_size,
            "iterations": run.iterations,
        }

    def factors(self, place: str) -> dict[str, Factor]:
        """Return the schedules of the numbers in a place, e.g. of ``lr`` and ``beta1`` in ``optimizers.generator``."""
        schedules = {name.removeprefix(f"{place}."): schedule for name, schedule in self.schedules.items()}
        return {name: schedule.build(self.context) for name, schedule in schedules.items() if "." not in name}

    @functools.cached_property
    def always(self) -> bool:
        """Whether every term takes part in every iteration."""
        return all((term.keys.start, term.keys.stop, term.keys.every) == (0, None, 1) for term in self.terms.values())

    def active(self, iteration: int) -> frozenset[str]:
        """Return the labels of the terms that take part in an iteration."""
        return frozenset(label for label, term in self.terms.items() if term.keys.active(iteration))


def scheduled_numbers(settings: Mapping[str, Any]) -> dict[str, tuple[str, int | None]]:
    """Return which numbers of an optimizer's settings, or of a group of its parameters, a schedule can change.

    Those of a pair are named after it, with their place: ``beta1`` and ``beta2`` are those of ``betas``. A schedule multiplies,
    so what is 0 has none. By name they are a key and, of a pair, the place in it.
    """
    numbers: dict[str, tuple[str, int | None]] = {}
    for key, value in settings.items():
        places = enumerate(value) if isinstance(value, tuple | list) else [(None, value)]
        for place, number in places:
            if isinstance(number, float) and number:
                numbers[key if place is None else f"{key.removesuffix('s')}{place + 1}"] = (key, place)
    return numbers

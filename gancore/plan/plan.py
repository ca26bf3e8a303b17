"""The plan: a recipe with its components loaded and checked, and what each phase computes, before any tensor exists.

Every conflict surfaces here: a part that asks for a tensor nobody provides, a player without a loss, two attacks, a setting
out of range. `plan_phase` is a pure function of the plan, a player and the active terms; `gancore.engine.phase` executes what
it returns, and ``gancore explain`` prints it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Literal

import attrs

from gancore.contract import Attack, Dataset, DatasetInfo, Factor, Generator, Head, Loop, LossTerm, Network, Sampler, check
from gancore.errors import GancoreError
from gancore.recipe import AttackKeys, HeadKeys, NetworkKeys, Part, Recipe, SamplerKeys, TermKeys

if TYPE_CHECKING:
    from gancore.recipe import Registry

GENERATOR = "generator"
DISCRIMINATOR = "discriminator"


Kind = Literal[
    "batch", "images", "label", "view", "head", "features", "activations", "network", "embedding", "noise", "iteration"
]


@attrs.frozen
class Need:
    """What one parameter of a part's method stands for.

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

    def __attrs_post_init__(self) -> None:
        pair = self.kind in ("head", "network", "embedding")
        object.__setattr__(self, "key", (self.label, self.side) if pair else self.side or self.label)


@attrs.frozen
class Term:
    """A loss term of the recipe, with what its methods ask for.

    Attributes:
        label: Recipe label.
        part: Its place in the recipe.
        cls: Its class.
        keys: The keys that core handles: weight, every, start, stop.
        settings: Its own settings, checked.
        methods: Needs of each method that takes part in this recipe, by method name.
    """

    label: str
    part: Part
    cls: type[LossTerm]
    keys: TermKeys
    settings: dict[str, Any]
    methods: dict[str, tuple[Need, ...]]


@attrs.frozen
class Built:
    """A component to build: its class and its own checked settings; the context is added when it is built."""

    part: Part
    cls: type[Any]
    settings: dict[str, Any]


@attrs.frozen
class NetworkPlan:
    """A network to build, with the keys that core handles."""

    part: Part
    cls: type[Network]
    settings: dict[str, Any]
    keys: NetworkKeys
    trained: bool


@attrs.frozen
class AttackPlan:
    """The attack to build, with the keys that core handles, and the player that it attacks."""

    part: Part
    cls: type[Attack]
    settings: dict[str, Any]
    keys: AttackKeys
    target: str


@attrs.frozen
class HeadPlan:
    """A head to build, with the keys that core handles."""

    part: Part
    cls: type[Head]
    settings: dict[str, Any]
    keys: HeadKeys


@attrs.frozen
class SamplerPlan:
    """A sampler to build, with the keys that core handles."""

    part: Part
    cls: type[Sampler]
    settings: dict[str, Any]
    keys: SamplerKeys


@attrs.frozen
class SourcePlan:
    """A further stream of images: its data set, and whether that is the recipe's own, as its samplers leave it."""

    part: Part
    dataset: Dataset
    shared: bool


def construct(
    built: Built | SamplerPlan | NetworkPlan | HeadPlan | AttackPlan | Term, context: Mapping[str, Any], *first: Any
) -> Any:
    """Build a component from its settings, what core knows, and, of an optimizer, the parameters that come first.

    Raises:
        GancoreError: A setting is missing, or the constructor refuses its arguments.
    """
    arguments = check(built.cls, built.settings, where=built.part.where, context=context)
    try:
        return built.cls(*first, **arguments)
    except GancoreError as error:
        raise GancoreError(f"{built.part.where}: {error}") from error
    except (ValueError, TypeError, RuntimeError) as error:
        raise GancoreError(f"{built.part.where} can't be built: {error}") from error


@attrs.frozen
class Plan:
    """A checked recipe.

    Attributes:
        recipe: The recipe.
        registry: Where its components come from.
        accelerators: Full names and functions of the accelerators, in the order in which they are applied.
        dataset: The image set (built; no image is read).
        info: What is known of it.
        networks: All networks.
        heads: The discriminator's heads.
        terms: The loss terms whose weight is not 0.
        samplers: The samplers, in order.
        sources: The further streams of images.
        added: Labels of the sides that samplers add.
        attack: The attack, if any.
        metrics: The metrics.
        loop: The update rule.
        latent: What draws the latents, or None without a generator.
        players: Names of the trained networks, in the loop's order.
        optimizers: The optimizer of each player.
        schedules: Schedules by the place of the number that each changes, e.g. ``optimizers.generator.lr``.
    """

    recipe: Recipe
    registry: Registry
    accelerators: tuple[tuple[str, Callable[..., Any]], ...]
    dataset: Dataset
    info: DatasetInfo
    networks: dict[str, NetworkPlan]
    heads: dict[str, HeadPlan]
    terms: dict[str, Term]
    samplers: dict[str, SamplerPlan]
    sources: dict[str, SourcePlan]
    added: tuple[str, ...]
    attack: AttackPlan | None
    metrics: dict[str, Built]
    loop: Loop
    latent: Built | None
    players: tuple[str, ...]
    optimizers: dict[str, Built]
    schedules: dict[str, Built]

    @property
    def sides(self) -> dict[str, str]:
        """Sides whose images are generated -> the generator's label; the main generator's side is ``fake``."""
        others = {n: n for n, net in self.networks.items() if issubclass(net.cls, Generator)}
        return {"fake" if side == GENERATOR else side: label for side, label in others.items()}

    @property
    def codes(self) -> tuple[str, ...]:
        """Names of the latent's codes."""
        return () if self.latent is None else tuple(self.latent.cls.codes)

    @property
    def further(self) -> tuple[str, ...]:
        """Sides of images that are neither the data's nor generated: those of sources, and what samplers add."""
        return (*self.sources, *self.added)

    @property
    def stands_on(self) -> str | None:
        """Label of the classifier whose features the discriminator sees, or None where it sees images."""
        return self.networks[DISCRIMINATOR].keys.on if DISCRIMINATOR in self.networks else None

    @property
    def context(self) -> dict[str, Any]:
        """What core knows for constructors before the data are read."""
        settings = self.recipe.run
        return {
            "classes": self.info.classes,
            "channels": self.info.channels,
            "image_size": self.info.image_size,
            "latent_dim": settings.latent_dim,
            "batch_size": settings.batch_size,
            "iterations": settings.iterations,
        }

    def factors(self, place: str) -> dict[str, Factor]:
        """Return the schedules of the numbers in a place, e.g. of ``lr`` and ``beta1`` in ``optimizers.generator``."""
        return {
            name.rpartition(".")[2]: construct(schedule, self.context)
            for name, schedule in self.schedules.items()
            if name.rpartition(".")[0] == place
        }

    def active(self, iteration: int) -> frozenset[str]:
        """Return the labels of the terms that take part in an iteration."""
        return frozenset(label for label, term in self.terms.items() if term.keys.active(iteration))

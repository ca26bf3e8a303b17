"""Recipes: TOML tables that layer by deep merge, checked into a `Recipe`. Nothing here needs torch.

A recipe is read in layers: what it ``extends``, then the recipe itself, then each ``--with``, then each ``--set``. A later
layer wins over an earlier one, key by key; a table that names another ``use`` replaces the component; ``label =
false`` switches one off. Two ``--with`` recipes that set one key differently are refused unless ``--set`` decides, so
their order never matters.
"""

from __future__ import annotations

import copy
import functools
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import attrs

from gancore.contract import check, convert
from gancore.errors import GancoreError, did_you_mean, listed, shown
from gancore.recipe.layers import assigned, check_tables, cited, laid, merge, read_layer, settled
from gancore.recipe.tables import DEFAULTS, GROUPS, KEYS, SCHEDULED, SINGLE, Augmentation, Average, Evaluation, RunSettings

if TYPE_CHECKING:
    from gancore.registry import Declared, Registry


T = TypeVar("T")

_SCHEDULES = {"losses": ("schedule",), "optimizers": ("schedule", "schedules")}
_LABEL = re.compile(r"[a-z][a-z0-9_]*")


@attrs.frozen
class Entry:
    """One component in its place in a recipe.

    Attributes:
        group: The table it stands in, e.g. ``losses``.
        label: Its name there; equal to the group's for the tables that are one component.
        declared: The component.
        settings: The component's own settings, as the recipe gives them.
        keys: Those that core handles, checked; None where its table has none.
        where: Names the place for errors.
        shared: Whether it is a source that names no data set of its own, and so draws from the recipe's data.
    """

    group: str
    label: str
    declared: Declared
    settings: dict[str, Any]
    keys: Any
    where: str
    shared: bool = False


@attrs.frozen
class Recipe:
    """A checked recipe.

    Attributes:
        name: The name it was asked for by.
        layers: Names of all recipes in it, base first.
        table: The resolved table; writing it as TOML gives a recipe again.
        run: The ``[run]`` table.
        augmentation: The keys of the ``[data]`` table that core handles.
        ema: The ``[ema]`` table, or None.
        evaluation: The ``[evaluation]`` table.
        accelerators: The components that ``run.accelerate`` names, in its order.
        entries: Every entry, by ``(group, label)``.
        schedules: Every schedule, by the place of the number that it changes, e.g. ``optimizers.generator.lr``.
    """

    name: str
    layers: tuple[str, ...]
    table: dict[str, Any]
    run: RunSettings
    augmentation: Augmentation
    ema: Average | None
    evaluation: Evaluation
    accelerators: tuple[Declared, ...]
    entries: dict[tuple[str, str], Entry]
    schedules: dict[str, Entry]

    def group(self, group: str) -> dict[str, Entry]:
        """Return the entries of a table by label, sorted, so that a recipe's order never matters.

        Samplers alone keep their order, for they are applied one after another.
        """
        entries = {label: entry for (name, label), entry in self.entries.items() if name == group}
        return entries if group == "samplers" else dict(sorted(entries.items()))

    @property
    def plugins(self) -> tuple[str, ...]:
        """Names of the plugins that the recipe names."""
        return tuple(sorted({entry.declared.plugin for entry in (*self.entries.values(), *self.schedules.values())}))

    @property
    def cites(self) -> list[str]:
        """The papers of all files and components in it."""
        declared = [each.declared for each in (*self.entries.values(), *self.schedules.values())]
        papers = [*cited(self.table), *(component.cite for component in (*declared, *self.accelerators))]
        return [paper for paper in dict.fromkeys(papers) if paper]


def read(
    name: str | Mapping[str, Any],
    registry: Registry,
    *,
    overlays: Sequence[str | Mapping[str, Any]] = (),
    assignments: Sequence[str] = (),
    overrides: Mapping[str, Any] | None = None,
) -> Recipe:
    """Read a recipe with its layers and check it.

    Args:
        name: A recipe's name (``plugin/stem``), the path of a TOML file, or a table.
        registry: The installed plugins.
        overlays: Recipes layered over it (``--with``).
        assignments: ``KEY=VALUE`` texts (``--set``).
        overrides: A table layered over everything else.

    Raises:
        GancoreError: With one sentence, for anything that is wrong.
    """
    layers = [read_layer(each, registry) for each in (name, *overlays)]
    table = functools.reduce(laid, settled(layers, assignments))
    # What is said of one file is not so of what others make of it; how long and by which seed it is trained does not matter.
    if overlays or overrides or not all(text.strip().startswith("run.") for text in assignments):
        table = {key: value for key, value in table.items() if key != "summary"}
    table = assigned(table, assignments)
    chain = [link for layer in layers for link in layer.chain]
    whole = " + ".join(layer.chain[-1] for layer in layers)
    return check_table(merge(table, overrides or {}), registry, name=whole, layers=chain)


def check_table(table: Mapping[str, Any], registry: Registry, *, name: str, layers: Sequence[str] = ()) -> Recipe:
    """Check a resolved table into a `Recipe`. The settings of components are checked in the plan, where they are loaded."""
    check_tables(table, name)
    table = _without_removed(copy.deepcopy(dict(table)), name)
    reader = _Reader(registry, name)
    entries = reader.entries(table)
    run = reader.checked(RunSettings, "run", table.get("run", {}))
    accelerators = tuple(registry.component("accelerator", use, f"{name}: run.accelerate") for use in run.accelerate)
    if accelerators:
        table["run"]["accelerate"] = [declared.full_name for declared in accelerators]
    ema = reader.checked(Average, "ema", table["ema"], leave=["schedule"]) if "ema" in table else None
    evaluation = reader.checked(Evaluation, "evaluation", table.get("evaluation", {}))
    further = ema.further if ema is not None else {}
    for average in further:
        if not _LABEL.fullmatch(average) or average in ("ema", "live", "generator"):
            raise GancoreError(f"{name}: ema.further can't call an average {shown(average)}; choose another word.")
    if evaluation.weights not in ("ema", "live", *further):
        known = listed(["ema", "live", *further])
        raise GancoreError(f"{name}: evaluation.weights = {shown(evaluation.weights)} names no weights (known: {known}).")
    return Recipe(
        name=name,
        layers=tuple(layers) or (name,),
        table=table,
        run=run,
        augmentation=entries["data", "data"].keys,
        ema=ema,
        evaluation=evaluation,
        accelerators=accelerators,
        entries=entries,
        schedules=reader.schedules(table),
    )


def default_optimizer(name: str, player: str, registry: Registry) -> Entry:
    """Return the optimizer of a player for which a recipe of this name has no table."""
    return _Reader(registry, name).entry("optimizers", player, "optimizer", {})


@attrs.frozen
class _Reader:
    """Checks a recipe's table, and writes each component's full name into it, so that it means the same wherever it is read."""

    registry: Registry
    name: str

    def entries(self, table: dict[str, Any]) -> dict[tuple[str, str], Entry]:
        """Return every component of a table, by its table and label."""
        entries: dict[tuple[str, str], Entry] = {}
        for group, kind in {**SINGLE, **GROUPS}.items():
            if group == "latent" and "generator" not in table["networks"]:
                # Nothing is drawn for nobody; a fragment that sets latents may be laid over a classifier's recipe.
                table.pop(group, None)
                continue
            tables = table[group] if group in GROUPS else {group: table.setdefault(group, {})}
            for label, settings in tables.items():
                if group == "sources" and isinstance(settings, Mapping) and "use" not in settings:
                    entries[group, label] = self.shared_source(label, settings, entries["data", "data"])
                else:
                    entries[group, label] = self.entry(group, label, kind, settings, siblings=tables)
        return entries

    def entry(self, group: str, label: str, kind: str, settings: Any, siblings: Iterable[str] = ()) -> Entry:
        """Return the component that a table names."""
        place = f"{self.name}: {group}" if group == label else f"{self.name}: {group}.{label}"
        if not isinstance(settings, dict):
            hint = " (false switches it off)" if group in GROUPS else ""
            raise GancoreError(f"{place} must be a table with a `use`{hint}, not {shown(settings)}.")
        use = settings.get("use", DEFAULTS.get(group))
        if use is None:
            others = [other for other in siblings if other != label]
            raise GancoreError(f"{place} has no `use`, the {kind} that it is{did_you_mean(label, others)}.")
        declared = self.registry.component(kind, convert(use, str, where=f"{place}.use"), where=place)
        settings["use"] = declared.full_name
        where = f"{place} ({declared.full_name})"
        cls = KEYS.get(group)
        names = () if cls is None else attrs.fields_dict(cls)
        keys = {name: settings[name] for name in names if name in settings}
        own = {key: value for key, value in settings.items() if key not in ("use", *names, *_SCHEDULES.get(group, ()))}
        return Entry(group, label, declared, own, cls and cls(**check(cls, keys, where=where)), where)

    def shared_source(self, label: str, settings: Mapping[str, Any], data: Entry) -> Entry:
        """Return a source that draws from the recipe's own data."""
        if settings:
            raise GancoreError(
                f"{self.name}: sources.{label} has no `use`, so it draws from the recipe's own data and takes no "
                f'{listed(settings)}; choose among its images by samplers with of = "{label}", or name a data set by `use`.'
            )
        return attrs.evolve(data, group="sources", label=label, where=f"{self.name}: sources.{label}", shared=True)

    def schedules(self, table: Mapping[str, Any]) -> dict[str, Entry]:
        """Return every schedule of a table whose entries are checked, by the place of the number that it changes."""
        places = [(f"{group}.{label}", SCHEDULED[group], own) for group in SCHEDULED for label, own in table[group].items()]
        schedules: dict[str, Entry] = {}
        for place, number, settings in [*places, ("ema", "decay", table.get("ema", {}))]:
            several = settings.get("schedules", {}) if place.startswith("optimizers.") else {}
            if not isinstance(several, dict):
                raise GancoreError(f"{self.name}: {place}.schedules must be a table of schedules, not {shown(several)}.")
            if "schedule" in settings and number in several:
                raise GancoreError(f"{self.name}: {place} has two schedules of {number}; leave one out.")
            own = {number: settings["schedule"]} if "schedule" in settings else {}
            for name, schedule in {**own, **several}.items():
                schedules[f"{place}.{name}"] = self.entry(f"{place}.schedule", name, "schedule", schedule)
        return schedules

    def checked(self, cls: type[T], group: str, settings: Any, leave: Collection[str] = ()) -> T:
        """Return a table that core handles, all but some of its keys."""
        own = {key: value for key, value in settings.items() if key not in leave}
        return cls(**check(cls, own, where=f"{self.name}: {group}"))


def _without_removed(table: dict[str, Any], name: str) -> dict[str, Any]:
    for key in GROUPS:
        group = table.get(key) or {}
        for label in group:
            if not _LABEL.fullmatch(label):
                raise GancoreError(
                    f"{name}: the label {key}.{shown(label)[1:-1]} must be lower-case letters, digits and underscores."
                )
        table[key] = {label: entry for label, entry in group.items() if entry is not False}
    return {key: value for key, value in table.items() if value is not False}

"""Recipes: TOML tables that layer by deep merge, checked into a `Recipe`. Nothing here needs torch.

A recipe is read in layers: what it ``extends``, then the recipe itself, then each ``--with``, then each ``--set``. A later
layer wins over an earlier one, key by key; a table that names another ``use`` replaces the part; ``label = false`` switches
a part off. Two ``--with`` recipes that set one key differently are refused, so their order never matters.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import attrs

from gancore.contract import check, convert
from gancore.errors import GancoreError, did_you_mean, listed
from gancore.files import digest_of
from gancore.recipe.layers import GROUPS, SINGLE, assigned, check_tables, merge, read_layer, refuse_conflicts
from gancore.recipe.tables import Augmentation, Average, Evaluation, RunSettings

if TYPE_CHECKING:
    from gancore.recipe.discovery import Declared
    from gancore.recipe.registry import Registry


DEFAULTS = {"loop": "standard/alternating", "latent": "standard/normal", "optimizers": "standard/adam"}
"""Tables whose `use` may be left out -> the component that then stands in them."""

_LABEL = re.compile(r"[a-z][a-z0-9_]*")


@attrs.frozen
class Part:
    """One component in its place in a recipe.

    Attributes:
        group: The table it stands in, e.g. ``losses``.
        label: Its name there; equal to the group for the single parts.
        declared: The component.
        settings: Its settings as the recipe gives them.
        where: Names the place for errors.
        shared: Whether it is a source that names no data set of its own, and so draws from the recipe's data.
    """

    group: str
    label: str
    declared: Declared
    settings: dict[str, Any]
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
        augmentation: Core's part of the ``[data]`` table.
        ema: The ``[ema]`` table, or None.
        evaluation: The ``[evaluation]`` table.
        accelerators: The components that ``run.accelerate`` names, in its order.
        parts: Every part, by ``(group, label)``.
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
    parts: dict[tuple[str, str], Part]
    schedules: dict[str, Part]

    def group(self, group: str) -> dict[str, Part]:
        """Return the parts of a table by label, sorted, so that a recipe's order never matters.

        Samplers alone keep their order, for they are applied one after another.
        """
        found = {part.label: part for (name, _), part in self.parts.items() if name == group}
        return found if group == "samplers" else dict(sorted(found.items()))

    @property
    def plugins(self) -> tuple[str, ...]:
        """Names of the plugins that the recipe names."""
        return tuple(sorted({part.declared.plugin for part in (*self.parts.values(), *self.schedules.values())}))

    @property
    def digest(self) -> str:
        """Twelve characters that change when the recipe does."""
        return digest(self.table)


def identity(table: Mapping[str, Any]) -> dict[str, Any]:
    """Return a recipe's table without what says how it is computed, and nothing of what: ``run.accelerate``."""
    run = table.get("run")
    if not isinstance(run, Mapping) or "accelerate" not in run:
        return {**table}
    run = {key: value for key, value in run.items() if key != "accelerate"}
    return {**{key: value for key, value in table.items() if key != "run"}, **({"run": run} if run else {})}


def digest(table: Mapping[str, Any]) -> str:
    """Return twelve characters that change when anything in the table does, except its texts and `run.accelerate`."""
    table = {key: value for key, value in identity(table).items() if key not in ("summary", "cite")}
    return digest_of(table)


def read(
    name: str,
    registry: Registry,
    *,
    overlays: Sequence[str] = (),
    assignments: Sequence[str] = (),
    overrides: Mapping[str, Any] | None = None,
) -> Recipe:
    """Read a recipe with its layers and check it.

    Args:
        name: A recipe's name (``cbgan/digits-lt``), or the path of a TOML file.
        registry: The installed plugins.
        overlays: Recipes layered over it (``--with``).
        assignments: ``KEY=VALUE`` texts (``--set``).
        overrides: A table layered over everything else.

    Raises:
        GancoreError: With one sentence, for anything that is wrong.
    """
    base = read_layer(name, registry)
    table = copy.deepcopy(base.table)
    fragments = [read_layer(overlay, registry) for overlay in overlays]
    refuse_conflicts([base, *fragments])
    for fragment in fragments:
        table = merge(table, fragment.table)
    table = assigned(table, assignments)
    if overrides:
        table = merge(table, overrides)
    title = " + ".join([name, *overlays])
    layers = (*base.chain, *(link for fragment in fragments for link in fragment.chain))
    return check_table(table, registry, name=title, layers=layers)


def check_table(table: Mapping[str, Any], registry: Registry, *, name: str, layers: Sequence[str] = ()) -> Recipe:
    """Check a resolved table into a `Recipe`. The settings of components are checked in the plan, where they are loaded."""
    check_tables(table, name)
    table = _without_removed(copy.deepcopy(dict(table)), name)
    schedules = _schedules(table, registry, name)
    parts: dict[tuple[str, str], Part] = {}
    for group, kind in GROUPS.items():
        for label, settings in table.get(group, {}).items():
            if not _LABEL.fullmatch(label):
                raise GancoreError(f"{name}: the label {group}.{label} must be lower-case letters, digits and underscores.")
            if group == "sources" and isinstance(settings, Mapping) and "use" not in settings:
                parts[group, label] = _shared_source(label, settings, table.get("data", {}), registry, name)
                continue
            parts[group, label] = _part(group, label, kind, settings, registry, name, table[group])
    for group, kind in SINGLE.items():
        if group == "latent" and "generator" not in table["networks"]:
            # Nothing is drawn for nobody; a fragment that sets one may be laid over a classifier's recipe.
            table.pop(group, None)
            continue
        settings = table.setdefault(group, {})
        parts[group, group] = _part(group, group, kind, settings, registry, name, table)
    # The resolved table names components in full, so that it means the same wherever it is read.
    for (group, label), part in parts.items():
        if not part.shared:
            (table[group] if group in SINGLE else table[group][label])["use"] = part.declared.full_name
    data = parts["data", "data"]
    own = {key: data.settings.pop(key) for key in list(data.settings) if key in attrs.fields_dict(Augmentation)}
    run = RunSettings(**_checked(RunSettings, table.get("run", {}), f"{name}: run"))
    accelerators = tuple(registry.component("accelerator", use, f"{name}: run.accelerate") for use in run.accelerate)
    if accelerators:
        table["run"]["accelerate"] = [declared.full_name for declared in accelerators]
    average = table.get("ema")
    return Recipe(
        name=name,
        layers=tuple(layers) or (name,),
        table=table,
        run=run,
        augmentation=Augmentation(**_checked(Augmentation, own, f"{name}: data")),
        ema=None if average is None else Average(**_checked(Average, _unscheduled(average), f"{name}: ema")),
        evaluation=Evaluation(**_checked(Evaluation, table.get("evaluation", {}), f"{name}: evaluation")),
        accelerators=accelerators,
        parts=parts,
        schedules=schedules,
    )


def default_optimizer(name: str, player: str, registry: Registry) -> Part:
    """Return the optimizer of a player for which a recipe of this name has no table."""
    return _part("optimizers", player, "optimizer", {}, registry, name, {})


def _schedules(table: Mapping[str, Any], registry: Registry, name: str) -> dict[str, Part]:
    """Return the schedules of a recipe's table, and write their full names into it."""
    schedules: dict[str, Part] = {}

    def add(place: str, number: str, holder: dict[str, Any], key: str) -> None:
        if f"{place}.{number}" in schedules:
            raise GancoreError(f"{name}: {place} has two schedules of {number}; leave one out.")
        schedule = _part(f"{place}.schedule", number, "schedule", holder[key], registry, name, {})
        holder[key] = {**holder[key], "use": schedule.declared.full_name}
        schedules[f"{place}.{number}"] = schedule

    numbers = {"optimizers": "lr", "losses": "weight"}
    holders = [(f"{group}.{label}", numbers[group], part) for group in numbers for label, part in table[group].items()]
    for place, number, holder in [*holders, ("ema", "decay", table.get("ema"))]:
        if isinstance(holder, dict) and "schedule" in holder:
            add(place, number, holder, "schedule")
    for player, settings in table["optimizers"].items():
        several = settings.get("schedules", {}) if isinstance(settings, dict) else {}
        if not isinstance(several, dict):
            raise GancoreError(f"{name}: optimizers.{player}.schedules must be a table of schedules, not {several!r}.")
        for number in several:
            add(f"optimizers.{player}", number, several, number)
    return schedules


def _unscheduled(settings: Any) -> Any:
    """Return a table without its schedule, which stands for itself."""
    if not isinstance(settings, Mapping):
        return settings
    return {key: value for key, value in settings.items() if key != "schedule"}


def _checked(cls: type, given: Any, where: str) -> dict[str, Any]:
    if not isinstance(given, Mapping):
        raise GancoreError(f"{where} must be a table, not {given!r}.")
    return {key: value for key, value in check(cls, given, where=where).items() if key in given}


def _without_removed(table: dict[str, Any], name: str) -> dict[str, Any]:
    for key in GROUPS:
        group = table.get(key, {})
        if group is False:
            table[key] = {}
            continue
        if not isinstance(group, Mapping):
            raise GancoreError(f"{name}: {key} must hold tables, one a part, not {group!r}.")
        table[key] = {label: part for label, part in group.items() if part is not False}
    for key in ("ema", "evaluation"):
        if table.get(key) is False:
            del table[key]
    return table


def _shared_source(label: str, settings: Mapping[str, Any], data: Any, registry: Registry, name: str) -> Part:
    if settings:
        raise GancoreError(
            f"{name}: sources.{label} has no `use`, so it draws from the recipe's own data and takes no {listed(settings)}; "
            f'choose among its images by samplers with of = "{label}", or name another data set by `use`.'
        )
    part = _part("data", "data", "dataset", data, registry, name, {})
    return attrs.evolve(part, group="sources", label=label, where=f"{name}: sources.{label}", shared=True)


def _part(
    group: str,
    label: str,
    kind: str,
    settings: Any,
    registry: Registry,
    name: str,
    siblings: Mapping[str, Any],
) -> Part:
    place = group if group == label else f"{group}.{label}"
    if not isinstance(settings, Mapping):
        hint = " (false switches it off)" if group in GROUPS else ""
        raise GancoreError(f"{name}: {place} must be a table with a `use`{hint}, not {settings!r}.")
    settings = dict(_unscheduled(settings)) if group in ("losses", "optimizers") else dict(settings)
    if group == "optimizers":
        settings.pop("schedules", None)
    use = settings.pop("use", DEFAULTS.get(group))
    if use is None:
        others = [other for other in siblings if other != label] if group in GROUPS else []
        raise GancoreError(f"{name}: {place} has no `use`, the {kind} that it is{did_you_mean(label, others)}.")
    use = convert(use, str, where=f"{name}: {place}.use")
    declared = registry.component(kind, use, where=f"{name}: {place}")
    return Part(group, label, declared, settings, f"{name}: {place} ({declared.full_name})")

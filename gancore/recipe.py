"""Recipes: TOML tables that layer by deep merge, checked into a `Recipe`. Nothing here needs torch.

A recipe is read in layers: what it ``extends``, then the recipe itself, then each ``--with``, then each ``--set``. A later
layer wins over an earlier one, key by key; a table that names another ``use`` replaces the part; ``label = false`` switches
a part off. Two ``--with`` recipes that set one key differently are refused, so their order never matters.
"""

from __future__ import annotations

import copy
import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import attrs

from gancore import toml
from gancore.errors import GancoreError, did_you_mean, listed
from gancore.settings import Range, check, convert

if TYPE_CHECKING:
    from gancore.registry import Declared, Registry

GROUPS = {
    "sources": "dataset",
    "samplers": "sampler",
    "networks": "network",
    "heads": "head",
    "losses": "loss",
    "attacks": "attack",
    "metrics": "metric",
}
"""Tables that hold labelled parts -> the kind of their components."""

SINGLE = {"data": "dataset", "loop": "loop"}
"""Tables that are one part -> its kind."""

TABLES = (*GROUPS, *SINGLE, "run", "optimizers", "ema", "evaluation")
TEXTS = ("summary", "cite", "extends")
DEFAULT_LOOP = "core/alternating"

_LABEL = re.compile(r"[a-z][a-z0-9_]*")
_Count = Annotated[int, Range(1)]
_Interval = Annotated[int, Range(0)]


@attrs.frozen(kw_only=True)
class RunSettings:
    """The ``[run]`` table.

    Attributes:
        iterations: Length of the training.
        batch_size: Images per batch; several processes share them out evenly.
        seed: Seeds every draw and the initial weights.
        precision: ``auto`` takes bfloat16 where the hardware computes faster with it, float32 elsewhere.
        compile: Send networks through ``torch.compile``, where a trial shows that it works and gives the same losses but for
            rounding. It takes a minute or more before the first iteration, and pays on few CPUs.
        latent_dim: Width of the latent.
        latent: Distribution of the latent: standard normal, or uniform on [-1, 1].
        log_every: Iterations between lines of the log.
        sample_every: Iterations between sample grids; 0 for only the last.
        checkpoint_every: Iterations between checkpoints; 0 for only the last.
        evaluate_every: Iterations between evaluations; 0 for only the last.
        keep_checkpoints: How many of the newest checkpoints are kept; 0 keeps all.
        cuda_graph: On CUDA replay an iteration as one graph, where that proves to compute the same; ``environment.json``
            says whether it did, and why not. Off by default, for no GPU has run it yet; without effect on a CPU.
    """

    iterations: _Count = 100_000
    batch_size: _Count = 64
    seed: Annotated[int, Range(0)] = 0
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    compile: bool = False
    latent_dim: _Count = 128
    latent: Literal["normal", "uniform"] = "normal"
    log_every: _Count = 100
    sample_every: _Interval = 1000
    checkpoint_every: _Interval = 1000
    evaluate_every: _Interval = 0
    keep_checkpoints: Annotated[int, Range(0)] = 2
    cuda_graph: bool = False


@attrs.frozen(kw_only=True)
class Augmentation:
    """Keys of the ``[data]`` table that core handles for every image set.

    Attributes:
        flip: Mirror each image at random.
        crop_padding: Pad by so many pixels and crop at random.
    """

    flip: bool = False
    crop_padding: Annotated[int, Range(0)] = 0


@attrs.frozen(kw_only=True)
class Average:
    """The ``[ema]`` table: exponential moving average of the generator.

    Attributes:
        decay: Share of the old average kept per iteration.
        start: Iteration from which it averages; an exact copy before.
    """

    decay: Annotated[float, Range(0, 1)] = 0.999
    start: Annotated[int, Range(0)] = 0


@attrs.frozen(kw_only=True)
class Evaluation:
    """The ``[evaluation]`` table: the one stream of generated images that feeds every metric.

    Attributes:
        samples: Number of generated images.
        batch_size: Images per batch; part of no protocol, for batch norm is in evaluation mode.
        split: Real images that are compared with.
        seed: Seed of the latents.
        weights: The generator's moving average, or its live weights.
    """

    samples: Annotated[int, Range(2)] = 10_000
    batch_size: _Count = 250
    split: Literal["train", "test"] = "test"
    seed: Annotated[int, Range(0)] = 0
    weights: Literal["ema", "live"] = "ema"


@attrs.frozen(kw_only=True)
class TermKeys:
    """Keys that every loss term takes.

    Attributes:
        weight: What its value is multiplied by; 0 is the same as absent.
        every: Take part only in every so-manieth iteration.
        start: First iteration in which it takes part.
        stop: First iteration in which it no longer does.
        reads: Networks and heads that its parameters name -> those of the recipe to read in their place, e.g.
            ``{classifier = "vgg"}`` for a term that asks for ``fake_classifier``.
    """

    weight: float = 1.0
    every: _Count = 1
    start: Annotated[int, Range(0)] = 0
    stop: Annotated[int, Range(0)] | None = None
    reads: dict[str, str] = attrs.field(factory=dict)

    def active(self, iteration: int) -> bool:
        """Return whether the term takes part in an iteration."""
        ended = self.stop is not None and iteration >= self.stop
        return self.weight != 0 and iteration >= self.start and not ended and (iteration - self.start) % self.every == 0


@attrs.frozen(kw_only=True)
class NetworkKeys:
    """Keys that every network takes.

    Attributes:
        weights: A safetensors file to start from.
        trained_by: A recipe that trains these weights when they are not there yet; without effect beside `weights`.
        inherits: Tables of this recipe that the training recipe takes over, e.g. ``["data", "samplers"]``; of the samplers
            those that say which images take part, for what is done to a drawn batch belongs to this recipe's game.
        trained_with: ``KEY=VALUE`` texts that change the training recipe, e.g. ``["run.seed=1"]``.
        on: For a discriminator, the label of the classifier whose features it sees in place of images.
        input_mean: Per channel, on the [0, 1] scale: with `input_std`, the network's own normalisation of its input.
        input_std: Per channel, on the [0, 1] scale.
    """

    weights: str | None = None
    trained_by: str | None = None
    inherits: list[str] = attrs.field(factory=lambda: ["data"])
    trained_with: list[str] = attrs.field(factory=list)
    on: str | None = None
    input_mean: list[float] | None = None
    input_std: list[Annotated[float, Range(0, open_low=True)]] | None = None


@attrs.frozen(kw_only=True)
class HeadKeys:
    """Keys that every head takes.

    Attributes:
        weights: A safetensors file to start from.
        trained_by: A recipe that trains these weights when they are not there yet; without effect beside `weights`.
        inherits: Tables of this recipe that the training recipe takes over.
        trained_with: ``KEY=VALUE`` texts that change the training recipe.
    """

    weights: str | None = None
    trained_by: str | None = None
    inherits: list[str] = attrs.field(factory=lambda: ["data"])
    trained_with: list[str] = attrs.field(factory=list)


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
        parts: Every part, by ``(group, label)``.
        optimizers: The ``[optimizers.<player>]`` tables, unchecked until the players are known.
    """

    name: str
    layers: tuple[str, ...]
    table: dict[str, Any]
    run: RunSettings
    augmentation: Augmentation
    ema: Average | None
    evaluation: Evaluation
    parts: dict[tuple[str, str], Part]
    optimizers: dict[str, dict[str, Any]]

    def group(self, group: str) -> dict[str, Part]:
        """Return the parts of a table by label, sorted, so that a recipe's order never matters.

        Samplers alone keep their order, for they are applied one after another.
        """
        found = {part.label: part for (name, _), part in self.parts.items() if name == group}
        return found if group == "samplers" else dict(sorted(found.items()))

    @property
    def plugins(self) -> tuple[str, ...]:
        """Names of the plugins that the recipe names."""
        return tuple(sorted({part.declared.plugin for part in self.parts.values()}))

    @property
    def digest(self) -> str:
        """Twelve characters that change when the recipe does."""
        return digest(self.table)


def without_graphs(table: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out of a recipe's table the one setting that says how it is computed, and nothing of what."""
    run = table.get("run")
    if not isinstance(run, Mapping) or "cuda_graph" not in run:
        return {**table}
    return {**table, "run": {key: value for key, value in run.items() if key != "cuda_graph"}}


def digest(table: Mapping[str, Any]) -> str:
    """Return twelve characters that change when anything in the table does, except its texts and `run.cuda_graph`."""
    table = {key: value for key, value in without_graphs(table).items() if key not in ("summary", "cite")}
    text = json.dumps(table, sort_keys=True, default=str)
    return hashlib.blake2b(text.encode(), digest_size=6).hexdigest()


@attrs.frozen
class Layer:
    """One recipe file with what it extends merged in."""

    name: str
    table: dict[str, Any]
    chain: tuple[str, ...]


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
    _refuse_conflicts([base, *fragments])
    for fragment in fragments:
        table = merge(table, fragment.table)
    for text in assignments:
        table = merge(table, assignment(text))
    if overrides:
        table = merge(table, overrides)
    title = " + ".join([name, *overlays])
    layers = (*base.chain, *(link for fragment in fragments for link in fragment.chain))
    return check_table(table, registry, name=title, layers=layers)


def read_layer(name: str, registry: Registry, *, _seen: tuple[str, ...] = ()) -> Layer:
    """Read one recipe file and merge it over what it extends."""
    path = Path(name)
    if not (path.suffix == ".toml" or path.is_file()):
        path = registry.recipe_path(name)
    if name in _seen:
        raise GancoreError(f"recipe {name} extends itself: {' -> '.join((*_seen, name))}; remove one `extends`.")
    table = toml.read(path)
    _check_tables(table, name)
    extended = table.pop("extends", None)
    if extended is None:
        return Layer(name, table, (name,))
    if not isinstance(extended, str):
        raise GancoreError(f"{name}: extends must be the name of a recipe, not {extended!r}.")
    # A recipe beside this one may be named by its file.
    if extended.endswith(".toml") and not Path(extended).is_absolute():
        extended = str(path.parent / extended)
    base = read_layer(extended, registry, _seen=(*_seen, name))
    return Layer(name, merge(base.table, table), (*base.chain, name))


def _check_tables(table: Mapping[str, Any], name: str) -> None:
    known = (*TABLES, *TEXTS)
    for key in table:
        if key not in known:
            raise GancoreError(f"{name}: there is no table [{key}]{did_you_mean(key, known)} (known: {listed(known)}).")


def merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Return `over` laid on `base`, table by table; a table that names another ``use`` replaces the one below."""
    result = dict(base)
    for key, value in over.items():
        below = result.get(key)
        if isinstance(value, Mapping) and isinstance(below, Mapping):
            replaced = "use" in value and "use" in below and value["use"] != below["use"]
            result[key] = copy.deepcopy(dict(value)) if replaced else merge(below, value)
        else:
            result[key] = copy.deepcopy(value)
    return result


def assignment(text: str, where: str = "--set") -> dict[str, Any]:
    """Return the nested table of a ``KEY=VALUE``, whose key may have dots and whose value is TOML, or plain text.

    Args:
        text: The assignment.
        where: Names the place for errors.

    Raises:
        GancoreError: It is not of that form.
    """
    key, equals, value = text.partition("=")
    words = [word.strip() for word in key.split(".")]
    if not equals or not all(words):
        raise GancoreError(f"{where} {text!r} is not of the form KEY=VALUE, e.g. losses.balance.weight=5.")
    result: Any = toml.value(value.strip())
    for word in reversed(words):
        result = {word: result}
    return dict(result)


def _leaves(table: Mapping[str, Any], path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    for key, value in table.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, (*path, key))
        else:
            yield (*path, key), value


def _refuse_conflicts(layers: Sequence[Layer]) -> None:
    """Refuse two overlays that set one key differently, and two recipes of any rank that set another loop."""
    claims: dict[tuple[str, ...], tuple[str, Any]] = {}
    for rank, layer in enumerate(layers):
        for path, value in _leaves({k: v for k, v in layer.table.items() if k not in TEXTS}):
            if rank == 0 and path != ("loop", "use"):
                continue
            other, claimed = claims.setdefault(path, (layer.name, value))
            if claimed != value:
                raise GancoreError(
                    f"{other} and {layer.name} can't be combined: they set {'.'.join(path)} to {claimed!r} and {value!r}."
                )


def check_table(table: Mapping[str, Any], registry: Registry, *, name: str, layers: Sequence[str] = ()) -> Recipe:
    """Check a resolved table into a `Recipe`. The settings of components are checked in the plan, where they are loaded."""
    _check_tables(table, name)
    table = _without_removed(copy.deepcopy(dict(table)), name)
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
        settings = table.setdefault(group, {})
        if group == "loop":
            settings.setdefault("use", DEFAULT_LOOP)
        parts[group, group] = _part(group, group, kind, settings, registry, name, table)
    # The resolved table names components in full, so that it means the same wherever it is read.
    for (group, label), part in parts.items():
        if not part.shared:
            (table[group] if group in SINGLE else table[group][label])["use"] = part.declared.full_name
    data = parts["data", "data"]
    own = {key: data.settings.pop(key) for key in list(data.settings) if key in attrs.fields_dict(Augmentation)}
    average = table.get("ema")
    optimizers = table.get("optimizers", {})
    for player, settings in optimizers.items():
        if not isinstance(settings, Mapping):
            raise GancoreError(f"{name}: optimizers.{player} must be a table, not {settings!r}.")
    return Recipe(
        name=name,
        layers=tuple(layers) or (name,),
        table=table,
        run=RunSettings(**_checked(RunSettings, table.get("run", {}), f"{name}: run")),
        augmentation=Augmentation(**_checked(Augmentation, own, f"{name}: data")),
        ema=None if average is None else Average(**_checked(Average, average, f"{name}: ema")),
        evaluation=Evaluation(**_checked(Evaluation, table.get("evaluation", {}), f"{name}: evaluation")),
        parts=parts,
        optimizers={player: dict(settings) for player, settings in optimizers.items()},
    )


def _checked(cls: type, given: Any, where: str) -> dict[str, Any]:
    if not isinstance(given, Mapping):
        raise GancoreError(f"{where} must be a table, not {given!r}.")
    return {key: value for key, value in check(cls, given, where=where).items() if key in given}


def _without_removed(table: dict[str, Any], name: str) -> dict[str, Any]:
    for key in [*GROUPS, "optimizers"]:
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
    settings = dict(settings)
    use = settings.pop("use", None)
    if use is None:
        others = [other for other in siblings if other != label] if group in GROUPS else []
        raise GancoreError(f"{name}: {place} has no `use`, the {kind} that it is{did_you_mean(label, others)}.")
    use = convert(use, str, where=f"{name}: {place}.use")
    declared = registry.component(kind, use, where=f"{name}: {place}")
    return Part(group, label, declared, settings, f"{name}: {place} ({declared.full_name})")

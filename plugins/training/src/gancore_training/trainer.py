"""Training a recipe into a folder, and opening what was trained."""

from __future__ import annotations

import contextlib
import platform
import shlex
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import attrs
import torch

import gancore_training.checkpoint as checkpoint
import gancore_training.prerequisites as prerequisites
from gancore import GancoreError, __version__
from gancore.tools import (
    GENERATOR,
    Plan,
    Planned,
    Plugin,
    Recipe,
    Registry,
    assigned,
    check_table,
    distributed,
    listed,
    load_split,
    make_plan,
    processor,
    said,
    toml,
)
from gancore_training.changes import differences, named, record
from gancore_training.evaluate import Evaluator, check_keep_best
from gancore_training.host_waits import synchronize
from gancore_training.identity import flat
from gancore_training.local_code import local_sources
from gancore_training.lock import holding
from gancore_training.missing import Missing
from gancore_training.observers import observing
from gancore_training.outer_loop import OuterLoop
from gancore_training.overrides import naming_overrides
from gancore_training.progress import Progress
from gancore_training.ranks import join, one_process, refuse_differences
from gancore_training.run_folder import RunFolder, checkpoints
from gancore_training.sampling import NO_FORMAT, suffixes
from gancore_training.stored import checkpoint_at
from gancore_training.streams import TURN
from gancore_training.training_run import TrainingRun

TIMED = 2
"""Iterations that are timed to tell how long a training takes; the shortest counts."""


def train(
    recipe: Recipe,
    registry: Registry,
    out: Path,
    *,
    device: torch.device,
    resume: bool = False,
    changed: bool = False,
    progress: Progress | None = None,
    observers: Collection[str] = (),
) -> TrainingRun:
    """Train a recipe and return the finished run.

    Args:
        recipe: What to train.
        registry: The installed plugins.
        out: The run's folder.
        device: Where to compute.
        resume: Go on from the newest checkpoint in `out`; start anew where there is none.
        changed: Go on also where learning rates, weights of losses, the length or the precision have changed; the run's record
            says so.
        progress: Whom to tell; of several processes rank 0 alone tells.
        observers: Plugins that observe the training, beside those that the recipe names.

    Under ``torchrun`` or ``srun`` every process calls this; `out` and the cache must be folders that all machines share.

    Raises:
        GancoreError: Anything wrong with recipe, data, weights, checkpoint or folder, a state that is no longer finite, a
            folder that another process holds, or processes that differ or were lost.
        Interrupted: A signal came; the state is saved, and the run is finished where it was in its last iteration.
    """
    join(device)
    refuse_differences({**_common(recipe, registry), "--out": str(out), "--resume": resume, "--changed": changed})
    watching = observing(registry, [*recipe.run.observers, *observers], recipe.plugins)
    progress = Progress() if progress is None or distributed.rank() else progress
    plan = make_plan(recipe, registry)
    with contextlib.ExitStack() as stack:
        # Held before anything is prepared, and by rank 0 for all.
        distributed.on_rank_zero(lambda: stack.enter_context(holding(out)))
        with naming_overrides(plan):
            return _train(plan, RunFolder(out), device, progress, watching, resume=resume, changed=changed)


def _train(
    plan: Plan,
    folder: RunFolder,
    device: torch.device,
    progress: Progress,
    observers: Collection[Plugin],
    *,
    resume: bool,
    changed: bool,
) -> TrainingRun:
    """Train into a folder that this process holds."""
    distributed.on_rank_zero(lambda: folder.check(plan, resume=resume, changed=changed))
    run = _build(plan, device, progress)
    run.folder = folder.path
    newest = distributed.on_rank_zero(lambda: checkpoints(folder.path)[-1:]) if resume else []
    headers = [checkpoint.load(run, path, changed=changed) for path in newest]
    if run.iteration > plan.recipe.run.iterations:
        raise GancoreError(f"{folder.path} is trained for {run.iteration} iterations already; ask for more, or as many.")
    # Reading the data may fail; nothing has been written yet.
    for header, path in zip(headers, newest, strict=True):
        checkpoint.refuse_other_data(run, header, path)
    refuse_differences({f"the content of {label}": what for label, what in run.contents.items()})
    evaluator = Evaluator(run) if plan.metrics else None
    check_keep_best(run, evaluator)
    if evaluator is not None and not newest:
        evaluator.rehearse()
    environment = environment_of(run)
    recorded = False

    def tell(name: str, status: str) -> None:
        environment["accelerators"][name] = status
        progress.announce(f"{name} is {status}")
        # Not before: the record that lies there says what has changed since.
        if run.rank == 0 and recorded:
            folder.describe(environment)

    step = accelerate(run, tell)

    def prepare() -> str:
        for header in headers:
            recipes = differences(header["recipe"], plan.recipe.table)
            told = record(folder.environment, environment, recipes, run.iteration)
        folder.create(plan.recipe.table, environment)
        folder.forget_after(run.iteration)
        return told if headers else ""

    told = distributed.on_rank_zero(prepare)
    recorded = True
    if told:
        progress.announce(f"{told} (environment.json keeps it)")
    _announce(run, progress)
    OuterLoop(run, folder, progress, evaluator, observers).train(step)
    return run


def _common(recipe: Recipe, registry: Registry) -> dict[str, Any]:
    """Return what the processes of a run must have in common before they start."""
    plugins = {f"the version of the plugin {name}": said for name, said in registry.plugin_versions(recipe.plugins).items()}
    return {**flat(recipe.table), "the version of gancore": __version__, "the version of torch": torch.__version__, **plugins}


def accelerate(run: TrainingRun, tell: Callable[[str, str], None]) -> Callable[[], None]:
    """Return what runs one iteration of a run: its own `step`, as each accelerator of its recipe changes it in turn.

    Args:
        run: The run, as restored as it is going to be.
        tell: Called with an accelerator's full name and what it says: ``on``, or ``off: `` and why; again where that changes.

    Raises:
        GancoreError: An accelerator fails, or returns nothing that can be called.
    """
    step: Callable[[], None] = run.step
    for name, accelerator in run.plan.accelerators:
        remedy = f"take {name} out of run.accelerate, or tell its author."
        try:
            step = accelerator(run, step, partial(tell, name))
        except GancoreError:
            raise
        except Exception as error:
            raise GancoreError(f"the accelerator {name} raised {said(error)}; {remedy}") from error
        if not callable(step):
            raise GancoreError(f"the accelerator {name} returns {step!r}, which runs no iteration; {remedy}")
    return step


def environment_of(run: TrainingRun) -> dict[str, Any]:
    """Return what a run is made with, as its folder keeps it; no accelerator has said anything yet."""
    return {
        "recipe_name": run.recipe.name,
        "recipes": list(run.recipe.layers),
        "cites": run.recipe.cites,
        "gancore": __version__,
        "plugins": run.plan.registry.plugin_versions(run.recipe.plugins),
        "torch": torch.__version__,
        "python": platform.python_version(),
        "device": torch.cuda.get_device_name(run.device) if run.device.type == "cuda" else processor(),
        "threads": torch.get_num_threads(),
        "processes": distributed.world_size(),
        "precision": run.precision,
        "parameters": {name: sum(p.numel() for p in player.parameters) for name, player in run.players.items()},
        "class_counts": run.batches.class_counts,
        "class_names": list(run.plan.info.class_names) if run.plan.info.classes else [],
        "accelerators": {},
        **({"code": sources} if (sources := local_sources(run.plan.registry)) else {}),
    }


def _announce(run: TrainingRun, progress: Progress) -> None:
    """Tell what the recipe leaves to the machine."""
    settings, processes = run.recipe.run, distributed.world_size()
    if settings.precision == "auto":
        progress.announce(f"{run.precision}: {run.precision_why}")
    if processes > 1:
        own = distributed.rows_each(settings.batch_size, "run.batch_size")
        names = run.parts.batch_norms_apart
        apart = f"; {listed(names)} keeps statistics for each process" if names else ""
        progress.announce(f"{processes} processes, {own} images of each batch of {settings.batch_size} in each{apart}")
    if GENERATOR in run.networks and not suffixes(run.plan.registry):
        progress.announce(f"no samples are drawn: {NO_FORMAT}")


def build(recipe: Recipe, registry: Registry, device: torch.device, progress: Progress | None = None) -> TrainingRun:
    """Build a run, training first what its recipe needs.

    Raises:
        GancoreError: Anything wrong with recipe, data or weights; or several processes that have not met (`distributed.start`).
    """
    return _build(make_plan(recipe, registry), device, progress or Progress())


def _build(plan: Plan, device: torch.device, progress: Progress) -> TrainingRun:
    if distributed.world_size() == 1:
        one_process("this command")
    else:
        # What has to be downloaded or prepared first is so once, and not by all processes at the same time.
        distributed.on_rank_zero(lambda: _read_images(plan))
    first = partial(train, registry=plan.registry, device=device, progress=progress)
    rehearsed = partial(rehearse, registry=plan.registry, device=device)
    weights = prerequisites.ensure(plan, first, progress.announce, rehearsed, progress.agree)
    with TURN:
        return TrainingRun(plan, device, weights)


def rehearse(recipe: Recipe, registry: Registry, device: torch.device) -> float:
    """Build a run without the networks that it needs trained first, and have it do once what it will do: step, and score.

    Returns:
        The seconds that an iteration takes, the first one apart; without what the recipe does between iterations.

    Raises:
        GancoreError: As `train` would, after hours perhaps.
    """
    with TURN:
        run = TrainingRun(make_plan(recipe, registry), device)
        run.set_schedules()
        run.take_turns()
        evaluator = Evaluator(run) if run.plan.metrics else None
        check_keep_best(run, evaluator)
        if evaluator is not None:
            evaluator.rehearse()
        seconds = []
        for _ in range(TIMED):
            synchronize(device)
            begun = time.perf_counter()
            run.take_turns()
            synchronize(device)
            seconds.append(time.perf_counter() - begun)
    return min(seconds)


def _read_images(plan: Plan) -> None:
    for dataset in {id(dataset): dataset for dataset in (plan.dataset, *plan.sources.values())}.values():
        load_split(dataset, "train")


def open_run(
    path: Path,
    registry: Registry,
    device: torch.device,
    progress: Progress | None = None,
    *,
    assignments: Sequence[str] = (),
    bare: bool = False,
    at: str | None = None,
) -> TrainingRun:
    """Return a run from its folder, as a checkpoint left it. Its data are read when they are first asked for.

    Args:
        path: The folder.
        registry: The installed plugins.
        device: Where to compute.
        progress: Whom to tell.
        assignments: ``KEY=VALUE`` texts that change its recipe in what decides no weights, e.g. its metrics.
        bare: Leave networks that the run does not train as they are built, unless its latents read them: what draws samples
            needs no others, and no files of theirs. Losses, attacks and metrics whose plugins are not installed are left out,
            which is told.
        at: Which checkpoint: an iteration, ``best:fid/fid`` for the best one stored by that score, ``best`` for that by the
            score of its ``run.keep_best``; None for the newest.

    Raises:
        GancoreError: The folder holds no run, or no such checkpoint, or the recipe is changed to another run's.
    """
    refuse_differences({"--set": list(assignments), "--at": at})
    folder = RunFolder.open(path)
    table = assigned(toml.read(folder.recipe), assignments)
    missing = Missing.of(table, registry, str(folder.recipe)) if bare else Missing()
    recipe = check_table(missing.left_out(table), registry, name=str(folder.recipe))
    while (saved := checkpoint_at(folder, at, recipe.run.keep_best)) is not None:
        try:
            content = checkpoint.read(saved)
            break
        except GancoreError:
            # Who trains there may just have written a newer one and removed this one.
            if saved.exists():
                raise
    if saved is None:
        raise GancoreError(
            f"{path} has no checkpoint yet; train it further with "
            f"`{shlex.join(['gancore', 'train', str(folder.recipe), '--out', str(path), '--resume'])}`."
        )
    try:
        plan = make_plan(recipe, registry, checkpoint.known(content[0], saved))
        run = _build(_without_files(plan) if bare else plan, device, progress or Progress())
        run.folder = path
        checkpoint.load(run, saved, content, bare=bare, missing=missing)
    except GancoreError as error:
        if missing.reason is None:
            raise
        # What is left makes no run, so what is missing was needed.
        raise missing.reason from error
    if missing.places and progress is not None:
        progress.announce(f"without {listed(missing.places)}, whose code is not there, and which no image needs")
    return run


def _without_files(plan: Plan) -> Plan:
    """Return a plan whose networks and heads begin without weights of others, but for those that latents read."""
    read = set() if plan.latent is None else named(plan.latent)

    def bare(tables: Mapping[str, Planned[Any, Any]]) -> dict[str, Planned[Any, Any]]:
        none = {"weights": None, "trained_by": None}
        return {k: one if k in read else attrs.evolve(one, keys=attrs.evolve(one.keys, **none)) for k, one in tables.items()}

    return attrs.evolve(plan, networks=bare(plan.networks), heads=bare(plan.heads))

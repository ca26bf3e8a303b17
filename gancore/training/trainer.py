"""Training a recipe into a folder: the outer loop with its log, samples, checkpoints, scores, and resume."""

from __future__ import annotations

import difflib
import math
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import attrs
import torch

import gancore.training.checkpoint as checkpoint
import gancore.training.prerequisites as prerequisites
from gancore.engine import Run
from gancore.errors import GancoreError, listed
from gancore.files import toml, write_tensors
from gancore.parallel import distributed
from gancore.plan import GENERATOR, Plan, make_plan
from gancore.recipe import Recipe, Registry, check_table, identity
from gancore.training.accelerate import accelerate
from gancore.training.environment import environment
from gancore.training.evaluate import Evaluator
from gancore.training.image_formats import NONE, image_format, suffixes
from gancore.training.progress import Progress, Silent
from gancore.training.protocol import Scores
from gancore.training.run_folder import RunFolder, entries
from gancore.training.sampling import sample
from gancore.training.timing import read_wall_clock

MEET_EVERY = 5.0
"""Seconds after which several processes agree whether one of them was told to stop; torchrun kills what takes 30."""


class Interrupted(Exception):  # noqa: N818 - it is no error, the run is saved
    """Training was stopped by a signal, after its state was saved."""


def train(
    recipe: Recipe,
    registry: Registry,
    out: Path,
    *,
    device: torch.device,
    resume: bool = False,
    progress: Progress | None = None,
) -> Run:
    """Train a recipe and return the finished run.

    Args:
        recipe: What to train.
        registry: The installed plugins.
        out: The run's folder.
        device: Where to compute.
        resume: Go on from the newest checkpoint in `out`; start anew where there is none.
        progress: Whom to tell; of several processes rank 0 alone tells.

    Under ``torchrun`` every process calls this; `out` and the cache must be folders that all machines share.

    Raises:
        GancoreError: Anything wrong with recipe, data, weights, checkpoint or folder, a loss that is no longer finite, or a
            process that was lost.
        Interrupted: A signal came; the state is saved, and the run is finished where it was in its last iteration.
    """
    distributed.start(device)
    progress = Silent() if progress is None or distributed.rank() else progress
    folder = RunFolder(out)
    distributed.on_rank_zero(lambda: _check_folder(folder, recipe, resume=resume))
    run = build(recipe, registry, device, progress)
    newest = distributed.on_rank_zero(lambda: checkpoint.checkpoints(out)[-1:]) if resume else []
    for path in newest:
        checkpoint.load(run, path)
    # Reading the data may fail; nothing has been written yet.
    _ = run.batches.stream, run.batches.sources
    evaluator = Evaluator(run) if run.plan.metrics else None
    statuses: dict[str, str] = {}

    def tell(name: str, status: str) -> None:
        statuses[name] = status
        progress.announce(f"{name} is {status}")
        if run.rank == 0 and folder.environment.exists():
            folder.note("accelerators", statuses)

    step = accelerate(run, tell)

    def prepare() -> None:
        folder.create(recipe.table, {**environment(run), "accelerators": statuses})
        folder.forget_after(run.iteration)

    distributed.on_rank_zero(prepare)
    if recipe.run.precision == "auto":
        progress.announce(f"{run.precision}: {run.precision_why}")
    if distributed.world_size() > 1:
        progress.announce(_division(run))
    if GENERATOR in run.networks and not suffixes(registry):
        progress.announce(f"no samples are drawn: {NONE}")
    _Training(run, folder, registry, progress, evaluator).run_all(step)
    return run


def _division(run: Run) -> str:
    """Say how several processes share the work."""
    processes = distributed.world_size()
    own = distributed.rows_each(run.recipe.run.batch_size, "run.batch_size")
    apart = f"; {listed(run.parts.batch_norms_apart)} keeps statistics for each process" if run.parts.batch_norms_apart else ""
    return f"{processes} processes, {own} images of each batch of {run.recipe.run.batch_size} in each{apart}"


def build(recipe: Recipe, registry: Registry, device: torch.device, progress: Progress | None = None) -> Run:
    """Build a run, training first what its recipe needs.

    Raises:
        GancoreError: Anything wrong with recipe, data or weights; or several processes that have not met (`distributed.start`).
    """
    if distributed.world_size() == 1:
        distributed.one_process("this command")
    progress = progress or Silent()
    plan = make_plan(recipe, registry)
    if distributed.world_size() > 1:
        # What has to be downloaded or prepared first is so once, and not by all processes at the same time.
        distributed.on_rank_zero(lambda: _read_images(plan))

    def first(needed: Recipe, folder: Path) -> None:
        train(needed, registry, folder, device=device, progress=progress)

    weights = prerequisites.ensure(plan, first, progress.announce)
    return Run(plan, device, weights)


def _read_images(plan: Plan) -> None:
    for dataset in (plan.dataset, *(source.dataset for source in plan.sources.values() if not source.shared)):
        dataset.load("train")


def open_run(path: Path, registry: Registry, device: torch.device, progress: Progress | None = None) -> Run:
    """Return a run from its folder, as its newest checkpoint left it.

    Raises:
        GancoreError: The folder holds no run, or no checkpoint.
    """
    folder = RunFolder.open(path)
    recipe = check_table(toml.read(folder.recipe), registry, name=str(folder.recipe))
    found = checkpoint.checkpoints(path)
    if not found:
        raise GancoreError(
            f"{path} has no checkpoint yet; train it further with `gancore train {folder.recipe} --out {path} --resume`."
        )
    run = build(recipe, registry, device, progress)
    checkpoint.load(run, found[-1])
    return run


def _check_folder(folder: RunFolder, recipe: Recipe, *, resume: bool) -> None:
    if folder.path.exists() and not folder.path.is_dir():
        raise GancoreError(f"{folder.path} is a file; choose another --out.")
    if not folder.recipe.exists():
        if folder.path.exists() and any(folder.path.iterdir()):
            raise GancoreError(f"{folder.path} holds other files and no run; choose another --out.")
        return
    if not resume:
        raise GancoreError(f"{folder.path} already holds a run; go on with --resume, or choose another --out.")
    before, now = (toml.dumps(identity(table)) for table in (toml.read(folder.recipe), recipe.table))
    # What stopped before its first checkpoint, perhaps at a wrong setting, has nothing to lose.
    if before != now and checkpoint.checkpoints(folder.path):
        lines = difflib.unified_diff(before.splitlines(), now.splitlines(), "in the run", "asked for", lineterm="", n=0)
        changed = "\n".join(line for line in lines if not line.startswith("@@"))
        raise GancoreError(
            f"{folder.path} was trained by another recipe, so it can't be resumed; the difference is:\n{changed}"
        )


class _Training:
    """The outer loop of one training."""

    def __init__(
        self, run: Run, folder: RunFolder, registry: Registry, progress: Progress, evaluator: Evaluator | None
    ) -> None:
        self.run = run
        self.folder = folder
        self.settings = run.recipe.run
        self.progress = progress
        self.observers = registry.observers(run.recipe.plugins) if run.rank == 0 else _unobserved
        self.evaluator = evaluator
        self.asked = False
        self.stopped = False
        self.meeting = 0
        """Iteration from which several processes ask each other again whether one was told to stop."""
        self.other = 0.0
        """Seconds spent on samples, checkpoints and exported weights, those before a resume included."""

    def run_all(self, step: Callable[[], None]) -> None:
        """Train to the last iteration, each by `step`, writing what the recipe asks for."""
        run, settings = self.run, self.settings
        self.observers("gancore_run_started", run=run)
        self.progress.started(run.recipe.name, run.iteration, settings.iterations)
        begun = run.iteration
        try:
            with self._signals():
                self._iterate(step)
        finally:
            self.progress.ended()
        with self._counted():
            self._export()
        if run.rank == 0 and run.iteration > begun:
            self.progress.announce(attrs.evolve(read_wall_clock(self.folder), other=self.other).text())
        self.observers("gancore_run_ended", run=run)
        # A signal that came with the last iteration stops whatever would follow this training.
        if distributed.any_of(self.asked):
            raise Interrupted

    def _iterate(self, step: Callable[[], None]) -> None:
        run, settings = self.run, self.settings
        if run.iteration >= settings.iterations:
            return
        before = list(entries(self.folder.log))[-1:] if self.folder.log.exists() else []
        spent = before[-1]["seconds"] if before else 0.0
        self.other = before[-1].get("other_seconds", 0.0) if before else 0.0
        # Seconds of training alone, and since the last line of the log: pictures, scores and checkpoints do not count.
        since, counted = 0.0, run.iteration
        clock = time.perf_counter()
        while run.iteration < settings.iterations:
            step()
            done = run.iteration
            last = done == settings.iterations
            logged = done % settings.log_every == 0 or last
            if distributed.world_size() > 1 and (logged or done >= self.meeting):
                self._meet(done, (since + time.perf_counter() - clock) / max(1, done - counted))
            if logged:
                values = self._values(done)
                since += time.perf_counter() - clock
                spent += since
                self._log(done, spent, (done - counted) / max(since, 1e-9), values)
                since, counted = 0.0, done
                clock = time.perf_counter()
            sampled = last or _due(done, settings.sample_every)
            evaluated = self.evaluator is not None and (last or _due(done, settings.evaluate_every))
            saved = last or _due(done, settings.checkpoint_every)
            if run.device.type == "cuda" and (sampled or evaluated or saved):
                # Iterations that still wait on the device are training's time, not that of what comes next.
                torch.cuda.synchronize(run.device)
            since += time.perf_counter() - clock
            if sampled:
                with self._counted():
                    self._sample(done)
            if self.evaluator is not None and evaluated:
                try:
                    self._evaluate(done, self.evaluator)
                except GancoreError:
                    # Scores can be made again, the training can't. (Several processes may be out of step by now.)
                    if distributed.world_size() == 1:
                        self._checkpoint()
                    raise
            if distributed.world_size() == 1:
                self.stopped = self.asked
            # The checkpoint comes last: what it stands for has then been written.
            if saved or self.stopped:
                with self._counted():
                    self._checkpoint()
            if self.stopped and not last:
                raise Interrupted
            clock = time.perf_counter()

    def _meet(self, done: int, seconds: float) -> None:
        """Agree with the other processes whether to stop, for they must in the same iteration, and when to ask again."""
        self.stopped = distributed.any_of(self.asked)
        self.meeting = distributed.agree(done + max(1, int(MEET_EVERY / max(seconds, 1e-6))))

    @contextmanager
    def _counted(self) -> Iterator[None]:
        """Count what is done within as neither training nor evaluation."""
        started = time.perf_counter()
        yield
        self.other += time.perf_counter() - started

    def _values(self, iteration: int) -> dict[str, float]:
        """Read the newest losses, with one synchronization for all."""
        names = list(self.run.losses)
        newest = distributed.global_mean(torch.stack([self.run.losses[name] for name in names]))
        values = dict(zip(names, newest.tolist(), strict=True))
        for name, value in values.items():
            if not math.isfinite(value):
                saved = checkpoint.checkpoints(self.folder.path)
                kept = f"the last checkpoint is {saved[-1]}" if saved else "no checkpoint was written yet"
                raise GancoreError(
                    f"the loss {name} became {value} at iteration {iteration}; {kept}. "
                    f"Lower a learning rate or a weight, or set run.precision to float32."
                )
        return values

    def _log(self, iteration: int, seconds: float, rate: float, values: Mapping[str, float]) -> None:
        run = self.run
        self.progress.advanced(iteration, rate, values)
        self.observers("gancore_logged", run=run, iteration=iteration, values=values)
        if run.rank:
            return
        monitors: dict[str, Any] = {}
        for label, term in run.terms.items():
            monitor = getattr(term, "monitor", None)
            if monitor is not None:
                monitors |= {f"{label}/{name}": tensor.tolist() for name, tensor in monitor().items()}
        entry = {"iteration": iteration, "seconds": round(seconds, 3), "other_seconds": round(self.other, 3)}
        entry["images_per_second"] = round(rate * self.settings.batch_size, 2)
        self.folder.append(self.folder.log, {**entry, "losses": values, "monitors": monitors})

    def _sample(self, iteration: int) -> None:
        if GENERATOR in self.run.networks and self.run.rank == 0:
            for suffix in suffixes(self.run.plan.registry)[:1]:
                path = self.folder.samples / f"{iteration:08d}.{suffix}"
                images, _ = sample(self.run, 64)
                image_format(path, self.run.plan.registry)(images, path, columns=8)

    def _evaluate(self, iteration: int, evaluator: Evaluator) -> None:
        scores = evaluator()
        self.observers("gancore_evaluated", run=self.run, iteration=iteration, scores=scores.values)
        numbers = ", ".join(f"{name} {value:.4g}" for name, value in scores.values.items() if isinstance(value, int | float))
        self.progress.announce(f"iteration {iteration}: {numbers} ({scores.seconds:.1f} s)")
        if self.run.rank == 0:
            write_scores(self.folder, iteration, scores)

    def _checkpoint(self) -> None:
        checkpoint.save(self.run, self.folder.path)

    def _export(self) -> None:
        """Write each trained network alone, for other recipes to start from."""
        if self.run.rank:
            return
        for name in self.run.players:
            planned = self.run.plan.networks[name].part
            network = self.run.generator() if name == GENERATOR else self.run.networks[name]
            header = {"network": planned.declared.full_name, "label": name, "recipe": self.run.recipe.name}
            write_tensors(self.folder.weights / f"{name}.safetensors", network.state_dict(), header)
        for label, head in self.run.heads.items():
            planned = self.run.plan.heads[label].part
            header = {"head": planned.declared.full_name, "label": label, "recipe": self.run.recipe.name}
            write_tensors(self.folder.weights / f"heads.{label}.safetensors", head.state_dict(), header)

    @contextmanager
    def _signals(self) -> Iterator[None]:
        """Finish the iteration and save on the first Ctrl-C or termination; a second one stops at once."""

        def stop(_number: int, _frame: Any) -> None:
            if self.asked:
                raise KeyboardInterrupt
            self.asked = True

        try:
            before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
        except ValueError:  # not the main thread: signals are somebody else's
            yield
            return
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def _unobserved(_hook: str, **_arguments: Any) -> None:
    """Tell nobody: plugins that observe a run do so in rank 0."""


def write_scores(folder: RunFolder, iteration: int, scores: Scores) -> None:
    """Append the scores of an evaluation to a run's folder."""
    entry = {"iteration": iteration, "scores": scores.values, "protocols": scores.protocols, "better": scores.better}
    folder.append(folder.scores, {**entry, "seconds": round(scores.seconds, 2)})


def _due(iteration: int, every: int) -> bool:
    return every > 0 and iteration % every == 0

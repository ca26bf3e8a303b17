"""The outer loop: iterations, with the log, samples, scores and checkpoints that the recipe asks for in between."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import gancore_training.checkpoint as checkpoint
from gancore.tools import GENERATOR, Plugin, collectives, distributed
from gancore_training.evaluate import Evaluator
from gancore_training.lock import still_held
from gancore_training.observers import Observers
from gancore_training.progress import Clock, Progress
from gancore_training.ranks import any_of
from gancore_training.run_folder import RunFolder, checkpoints, entries
from gancore_training.sample_classes import COLUMNS, NUMBER, annotator_of, classes_of, describe, facts_of, real_images
from gancore_training.sampling import image_format, sample, suffixes
from gancore_training.stopping import Interrupted, Stop
from gancore_training.streams import TURN
from gancore_training.training_run import TrainingRun
from gancore_training.unsaved import Unsaved

WORTH_TELLING = 0.1
"""Share of a training that waits for images from which it is told."""


class OuterLoop:
    """The outer loop of one training, of a run as restored as it is going to be; rank 0 alone calls the observers."""

    def __init__(
        self,
        run: TrainingRun,
        folder: RunFolder,
        progress: Progress,
        evaluator: Evaluator | None,
        observers: Collection[Plugin] = (),
    ) -> None:
        self.run = run
        self.folder = folder
        self.settings = run.recipe.run
        self.progress = progress
        self.observers = Observers(run, () if run.rank else observers, progress.announce)
        self.evaluator = evaluator
        self.stop = Stop()
        self.clock = Clock(folder, run.iteration)
        self.unsaved = Unsaved(run.parts)
        self.begun = run.iteration
        self._last: tuple[float, float] | None = None
        self._told = False

    def train(self, step: Callable[[], None]) -> None:
        """Train to the last iteration, each by `step`.

        Raises:
            GancoreError: A loss is no longer finite, a file can't be written, or a metric fails.
            Interrupted: A signal came; the state is saved, and `Interrupted.saved` says where.
        """
        run, begun = self.run, self.begun
        self.observers("gancore_run_started")
        length = f"{self.settings.iterations} iterations"
        self.progress.announce(f"{run.recipe.name}: {f'going on after {begun} of ' if begun else ''}{length}")
        self.progress.began(run.recipe.name, self.folder.path, begun, self.settings.iterations)
        try:
            with self.stop.listening():
                with TURN:
                    self._catch_up()
                while run.iteration < self.settings.iterations:
                    with TURN:
                        self._iteration(step)
                with self.clock.counting("other"):
                    if not run.rank:
                        checkpoint.export(run, self.folder.weights)
        except BaseException as error:
            if isinstance(error, Interrupted):
                self._say_where(error)
            self.observers("gancore_run_failed", error=error)
            raise
        finally:
            self.progress.ended()
        if run.rank == 0 and run.iteration > begun:
            self.progress.announce(self.clock.told())
        self.observers("gancore_run_ended")
        # A signal that came with the last iteration stops whatever would follow this training.
        if any_of(self.stop.asked):
            raise self._say_where(Interrupted())

    def _say_where(self, stopped: Interrupted) -> Interrupted:
        stopped.saved = next(reversed(checkpoints(self.folder.path)), None)
        return stopped

    def _iteration(self, step: Callable[[], None]) -> None:
        """Run an iteration, and do what is due after it."""
        settings, clock, done = self.settings, self.clock, self.run.iteration + 1
        logged, sampled, saved, scored = (
            settings.due(every, done)
            for every in (settings.log_every, settings.sample_every, settings.checkpoint_every, settings.evaluate_every)
        )
        scored = scored and self.evaluator is not None
        with clock.counting("training"):
            step()
            values = self._losses(done) if logged else {}
            # Most of what a checkpoint would forget shows at once; before one is written, it must have shown.
            if logged or saved or scored or done <= self.begun + 2:
                self.unsaved.check()
            if self.run.device.type == "cuda" and (sampled or scored or saved):
                # Iterations that still wait on the device are training's time, not that of what comes next.
                torch.cuda.synchronize(self.run.device)
        self.progress.ticked(done)
        self.stop.meet(done, clock.rate(done), due=logged)
        stopped = self.stop.now
        if logged or sampled or saved or scored or stopped:
            distributed.on_rank_zero(partial(still_held, self.folder.path))
        if logged:
            self._log(done, values)
        # Scores and samples can be made again, the training can't, so the checkpoint comes before them.
        if saved or scored or stopped:
            with clock.counting("other"):
                checkpoint.save(self.run, self.folder.path)
                path = self.folder.path / "checkpoints" / f"{done:08d}.safetensors"
                self.observers("gancore_checkpointed", iteration=done, path=path)
        if stopped and (scored or done < settings.iterations):
            raise Interrupted
        self._look(done, sampled=sampled, scored=scored)

    def _look(self, iteration: int, *, sampled: bool, scored: bool) -> None:
        """Write samples and scores of a state that is saved."""
        with self.clock.counting("other"), self.stop.at_once():
            if sampled:
                self._sample(iteration)
        if scored and self.evaluator is not None:
            self._evaluate(iteration, self.evaluator)

    def _catch_up(self) -> None:
        """Write samples and scores of the checkpoint from which training goes on, where it was stopped before they were."""
        settings, done = self.settings, self.run.iteration
        if done:
            drawn, known = distributed.on_rank_zero(
                lambda: (facts_of(self.folder.samples / f"{done:08d}").exists(), self._scored(done))
            )
            scored = self.evaluator is not None and settings.due(settings.evaluate_every, done) and not known
            self._look(done, sampled=settings.due(settings.sample_every, done) and not drawn, scored=scored)

    def _scored(self, iteration: int) -> bool:
        """Return whether the folder holds scores of an iteration by all metrics."""
        labels = set(self.evaluator.metrics if self.evaluator else ())
        lines = (entry for entry in entries(self.folder.scores) if entry["iteration"] == iteration)
        known = (entry["scores"] for entry in lines if isinstance(entry.get("scores"), dict))
        return any(labels <= {name.split("/")[0] for name in scores} for scores in known)

    def _log(self, iteration: int, values: dict[str, float]) -> None:
        rate = self.clock.rate(iteration)
        self.clock.line(iteration)
        self.progress.advanced(iteration, self.settings.iterations, rate, values)
        if not self.run.rank:
            entry = {
                "iteration": iteration,
                "seconds": round(self.clock.seconds["training"], 3),
                "other_seconds": round(self.clock.seconds["other"], 3),
                "images_per_second": round(rate * self.settings.batch_size, 2),
                **self._waited(rate * self.settings.batch_size),
                "losses": values,
                "monitors": self._monitors(),
            }
            self.folder.append(self.folder.log, entry)
        with self.clock.counting("other"):
            self.observers("gancore_logged", iteration=iteration, values=values)

    def _waited(self, rate: float) -> dict[str, float]:
        """Return how long this process has waited for images that are read by index, and say once where they are the limit.

        Args:
            rate: Images per second since the last line of the log.
        """
        streams = (self.run.batches.stream, *self.run.batches.sources.values())
        waited = [seconds for seconds in (getattr(stream.reader, "waited", None) for stream in streams) if seconds is not None]
        if not waited:
            return {}
        before, self._last = self._last, (sum(waited), self.clock.seconds["training"])
        spent, passed = (now - then for now, then in zip(self._last, before or self._last, strict=True))
        # Before the first line the readers have begun, which takes seconds.
        if passed and spent > WORTH_TELLING * passed and not self._told:
            self._told = True
            could = "more" if spent >= passed else f"{rate * passed / (passed - spent):.0f}/s"
            self.progress.announce(
                f"the images arrive at {rate:.0f}/s, the step could use {could}: raise run.workers, or prepare them "
                "(gancore prepare)"
            )
        return {"data_seconds": round(sum(waited), 3)}

    def _losses(self, iteration: int) -> dict[str, float]:
        """Read the newest losses, with one synchronization for all."""
        names = list(self.run.losses)
        newest = collectives.global_mean(torch.stack([self.run.losses[name] for name in names]))
        values = dict(zip(names, newest.tolist(), strict=True))
        for name, value in values.items():
            if not math.isfinite(value):
                raise checkpoint.diverged(f"the loss {name} became {value}", iteration, self.folder.path)
        return values

    def _monitors(self) -> dict[str, Any]:
        """Return what the terms show of themselves."""
        read = {
            label: self.observers.attempt(f"losses.{label}", "monitor", partial(_shown, term)) or {}
            for label, term in self.run.terms.items()
        }
        return {f"{label}/{name}": value for label, own in read.items() for name, value in own.items()}

    def _sample(self, iteration: int) -> None:
        registry = self.run.plan.registry
        formats = suffixes(registry)[:1]
        if GENERATOR not in self.run.networks or self.run.rank or not (formats or self.observers.see("gancore_sampled")):
            return
        images, labels = sample(self.run, NUMBER)
        for suffix in formats:
            attempt = partial(self.observers.attempt, f"the image format {suffix}", "writing of samples")
            attempt(partial(self._draw, self.folder.samples / f"{iteration:08d}.{suffix}", images, labels))
        self.observers("gancore_sampled", iteration=iteration, images=images)

    def _draw(self, path: Path, images: Tensor, labels: Tensor) -> None:
        """Write a grid of samples and which class each shows, and once the same of real images."""
        write = partial(image_format(path, self.run.plan.registry), columns=COLUMNS)
        real = path.with_stem("real")
        if not facts_of(real).exists():
            own, shown = real_images(self.run)
            write(own, real)
            describe(real, own, shown)
        write(images, path)
        annotator = annotator_of(self.evaluator.metrics if self.evaluator else {})
        # Last, so that where these are, all is: a training that was stopped in between draws again.
        describe(path, images, classes_of(self.run, images, labels, annotator))

    def _evaluate(self, iteration: int, evaluator: Evaluator) -> None:
        with self.stop.at_once():
            scores = evaluator(self.stop.heed)
        numbers = {name: value for name, value in scores.values.items() if isinstance(value, int | float)}
        said = ", ".join(f"{name} {value:.4g}" for name, value in numbers.items())
        self.progress.scored(iteration, numbers)
        self.progress.announce(f"iteration {iteration}: {said} ({scores.seconds:.1f} s)")
        for warning in scores.warnings:
            self.progress.announce(warning)
        self.clock.seconds["evaluation"] += scores.seconds
        if self.run.rank == 0:
            scores.write(self.folder, iteration)
        self.observers("gancore_evaluated", iteration=iteration, scores=scores.values)


def _shown(term: Any) -> dict[str, Any]:
    return {name: value.tolist() for name, value in getattr(term, "monitor", dict)().items()}

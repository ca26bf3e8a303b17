"""The plugin contract: one hook per component kind, and the observers of a run.

pluggy declares here, it never steps: no hook runs inside an iteration, and nothing depends on the order of hooks.
Every hook is implemented with ``@gancore.hookimpl`` in the module that the plugin's entry point (group ``gancore``) names.
That module must not import torch: it declares, and the declared code is imported when a recipe first uses it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import attrs
import pluggy

if TYPE_CHECKING:
    from torch import Tensor

    from gancore.contract.running import Run

GANCORE_API = 1
"""Version of this contract. A plugin may state the version that it is written for, or the first and the last: ``(1, 2)``."""

OLDEST_API = 1
"""Oldest version whose plugins still work, if with a warning; those for an older or a newer one are refused with a sentence."""

hookimpl = pluggy.HookimplMarker("gancore")


@attrs.frozen
class Component:
    """A declared component: what it is called and where its code lies.

    Args:
        name: Bare name, lower case with dashes. Its full name is ``plugin/name``; core stamps the prefix.
        target: ``"package.module:attribute"``, imported when a recipe first uses the component.
        summary: One line for the lists of the command line.
        cite: The paper, e.g. ``"arXiv:1801.04406"``.
        group: For a command, the heading below which ``gancore --help`` lists it, its own or one that others have; for what
            needs files that are not installed with it, ``download`` where it can fetch them, and ``files`` where it can't.
    """

    name: str = attrs.field(validator=attrs.validators.matches_re(r"[a-z0-9][a-z0-9.-]*"))
    target: str = attrs.field(validator=attrs.validators.matches_re(r"[\w.]+:[\w.]+"))
    summary: str = attrs.field(validator=attrs.validators.min_len(1))
    cite: str = ""
    group: str = ""


@attrs.frozen
class Kind:
    """A kind of component.

    Attributes:
        hook: The hook that declares such components: a generator of `Component`, without arguments.
        base: Name in `gancore` of the class that they are subclasses of; empty where they are no classes.
    """

    hook: str
    base: str = ""


KINDS: dict[str, Kind] = {
    "loss": Kind("gancore_loss_terms", "LossTerm"),
    "head": Kind("gancore_heads", "Head"),
    "sampler": Kind("gancore_samplers", "Sampler"),
    # Distributions of latents and labels.
    "latent": Kind("gancore_latents", "Latent"),
    "attack": Kind("gancore_attacks", "Attack"),
    "defense": Kind("gancore_defenses", "Defense"),
    # Update rules.
    "loop": Kind("gancore_loops", "Loop"),
    # Mostly by way of `gancore.Generator`, `gancore.Discriminator` or `gancore.Classifier`.
    "network": Kind("gancore_networks", "Network"),
    "dataset": Kind("gancore_datasets", "Dataset"),
    "metric": Kind("gancore_metrics", "Metric"),
    # Other ways to run an iteration, which a recipe names in ``run.accelerate``: functions ``(run, step, tell) -> step``. Each
    # is called once, when the `gancore.Run` is as restored as it is going to be, and gets the function that runs an iteration
    # so far; what it returns is called in its place for the rest of the training, and must compute the same. Through ``tell``
    # it says ``on``, or ``off: `` and why; again if that changes.
    "accelerator": Kind("gancore_accelerators"),
    # Each named by the suffix of its files, e.g. ``png``: functions ``(images, path, *, columns=None)`` that write images
    # (N, C, H, W) in [-1, 1], on the CPU, to one file, `columns` in a row where it is a grid (0 for one image as it is),
    # and make missing folders. They raise `gancore.GancoreError` where they can't. One with a keyword ``labels`` gets those
    # that a conditional generator was given, (N,), or (N, A) attributes.
    "image-format": Kind("gancore_image_formats"),
    # Classes or functions, called with a list of parameters and keyword settings. They give a `torch.optim.Optimizer`, one call
    # of whose `step` takes the one step of a turn. Those of `torch.optim` are there without a plugin.
    "optimizer": Kind("gancore_optimizers"),
    # Functions of keyword settings that give a `gancore.Factor`.
    "schedule": Kind("gancore_schedules"),
    # Functions that stand among the names of `gancore` itself, for use from Python, e.g. `gancore.train`.
    "function": Kind("gancore_functions"),
    # Functions ``(words, *, folder, number, pending)`` that have several processes run ``gancore *words``, which share runs in
    # a folder, and yield lines on what they have started; further keywords are options like ``gpus``.
    "executor": Kind("gancore_executors"),
    # Commands of the command line, each a `click.Command`, imported when it is called.
    "command": Kind("gancore_commands"),
}
"""Every kind of component that a plugin may declare, by the name that the command line has for it."""


class Hooks(Protocol):
    """The hooks that a plugin may implement beside those of `KINDS`."""

    def gancore_recipes(self) -> Iterator[Path]:
        """Yield the folder(s) that hold the plugin's recipes, ``*.toml``; a recipe is named ``plugin/stem``."""

    def gancore_doctor(self) -> Iterator[str]:
        """Yield lines for `gancore doctor`: what the plugin needs of a machine. What is broken raises `GancoreError`."""

    # What follows observes a run. What it raises is told once, and ends nothing. Of several processes rank 0 alone calls it.

    def gancore_run_started(self, run: Run) -> None:
        """Observe that a run starts (or resumes) training, from ``run.iteration`` on."""

    def gancore_logged(self, run: Run, iteration: int, values: Mapping[str, float]) -> None:
        """Observe a line of the log, every ``run.log_every`` iterations."""

    def gancore_sampled(self, run: Run, iteration: int, images: Tensor) -> None:
        """Observe samples (N, C, H, W) in [-1, 1], on the CPU, of the same latents each time."""

    def gancore_evaluated(self, run: Run, iteration: int, scores: Mapping[str, Any]) -> None:
        """Observe the scores of an evaluation."""

    def gancore_checkpointed(self, run: Run, iteration: int, path: Path) -> None:
        """Observe that a checkpoint has been written."""

    def gancore_run_ended(self, run: Run) -> None:
        """Observe that a run has ended, after its last checkpoint."""

    def gancore_run_failed(self, run: Run, error: BaseException) -> None:
        """Observe that a run ends before its last iteration: by an error, or by a signal, after its checkpoint."""

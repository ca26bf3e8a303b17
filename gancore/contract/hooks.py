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
    from gancore.contract.running import Run

GANCORE_API = 1
"""Version of this contract. A plugin may state ``GANCORE_API = 1``; another number is refused with a sentence."""

hookimpl = pluggy.HookimplMarker("gancore")


@attrs.frozen
class Component:
    """A declared component: what it is called and where its code lies.

    Args:
        name: Bare name, lower case with dashes. Its full name is ``plugin/name``; core stamps the prefix.
        target: ``"package.module:attribute"``, imported when a recipe first uses the component.
        summary: One line for the lists of the command line.
        cite: The paper, e.g. ``"arXiv:1801.04406"``.
    """

    name: str = attrs.field(validator=attrs.validators.matches_re(r"[a-z0-9][a-z0-9.-]*"))
    target: str = attrs.field(validator=attrs.validators.matches_re(r"[\w.]+:[\w.]+"))
    summary: str = attrs.field(validator=attrs.validators.min_len(1))
    cite: str = ""


class Hooks(Protocol):
    """Every hook that a plugin may implement."""

    def gancore_loss_terms(self) -> Iterator[Component]:
        """Yield loss terms: subclasses of `gancore.LossTerm`."""

    def gancore_heads(self) -> Iterator[Component]:
        """Yield discriminator heads: subclasses of `gancore.Head`."""

    def gancore_samplers(self) -> Iterator[Component]:
        """Yield data samplers: subclasses of `gancore.Sampler`."""

    def gancore_latents(self) -> Iterator[Component]:
        """Yield distributions of latents and labels: subclasses of `gancore.Latent`."""

    def gancore_attacks(self) -> Iterator[Component]:
        """Yield attacks: subclasses of `gancore.Attack`."""

    def gancore_loops(self) -> Iterator[Component]:
        """Yield update rules: subclasses of `gancore.Loop`."""

    def gancore_networks(self) -> Iterator[Component]:
        """Yield networks: subclasses of `gancore.Generator`, `gancore.Discriminator` or `gancore.Classifier`."""

    def gancore_datasets(self) -> Iterator[Component]:
        """Yield image sets: subclasses of `gancore.Dataset`."""

    def gancore_metrics(self) -> Iterator[Component]:
        """Yield scores: subclasses of `gancore.Metric`."""

    def gancore_optimizers(self) -> Iterator[Component]:
        """Yield optimizers: classes or functions, called with a list of parameters and keyword settings.

        They give a `torch.optim.Optimizer`, one call of whose `step` takes the one step of a turn. Those of `torch.optim` are
        there without a plugin.
        """

    def gancore_schedules(self) -> Iterator[Component]:
        """Yield schedules: functions of keyword settings that give a `gancore.Factor`."""

    def gancore_accelerators(self) -> Iterator[Component]:
        """Yield other ways to run an iteration, which a recipe names in ``run.accelerate``.

        `target` is a function ``(run, step, tell) -> step``. It is called once, when the `gancore.Run` is as restored as it is
        going to be, and gets the function that runs an iteration so far; what it returns is called in its place for the rest of
        the training, and must compute the same. Through ``tell`` it says ``on``, or ``off: `` and why; again if that changes.
        """

    def gancore_recipes(self) -> Iterator[Path]:
        """Yield the folder(s) that hold the plugin's recipes, ``*.toml``; a recipe is named ``plugin/stem``."""

    def gancore_image_formats(self) -> Iterator[Component]:
        """Yield image formats, each named by the suffix of its files, e.g. ``png``.

        `target` is a function ``(images, path, *, columns=None)``: it writes images (N, C, H, W) in [-1, 1], on the CPU, to one
        file, `columns` in a row where it is a grid, and makes missing folders. It raises `gancore.GancoreError` where it can't.
        """

    def gancore_commands(self) -> Iterator[Component]:
        """Yield commands of the command line; `target` is a `click.Command`, imported when it is called."""

    def gancore_doctor(self) -> Iterator[str]:
        """Yield lines for `gancore doctor`: what the plugin needs of a machine. What is broken raises `GancoreError`."""

    def gancore_run_started(self, run: Run) -> None:
        """Observe that a run starts (or resumes) training. Of several processes rank 0 alone calls observers."""

    def gancore_logged(self, run: Run, iteration: int, values: Mapping[str, float]) -> None:
        """Observe a line of the log, every ``run.log_every`` iterations."""

    def gancore_evaluated(self, run: Run, iteration: int, scores: Mapping[str, Any]) -> None:
        """Observe the scores of an evaluation."""

    def gancore_run_ended(self, run: Run) -> None:
        """Observe that a run has ended, after its last checkpoint."""


KINDS: dict[str, str] = {
    "loss": "gancore_loss_terms",
    "head": "gancore_heads",
    "sampler": "gancore_samplers",
    "latent": "gancore_latents",
    "attack": "gancore_attacks",
    "loop": "gancore_loops",
    "network": "gancore_networks",
    "dataset": "gancore_datasets",
    "metric": "gancore_metrics",
    "accelerator": "gancore_accelerators",
    "image-format": "gancore_image_formats",
    "optimizer": "gancore_optimizers",
    "schedule": "gancore_schedules",
    "command": "gancore_commands",
}
"""Component kind -> the hook that declares it."""

OBSERVERS = frozenset({"gancore_run_started", "gancore_logged", "gancore_evaluated", "gancore_run_ended"})

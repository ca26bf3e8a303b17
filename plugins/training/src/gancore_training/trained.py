"""A trained run as Python has it: images of its generator, its scores and its log, and how it shows itself."""

from __future__ import annotations

import functools
import html
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from gancore import GancoreError
from gancore.tools import GENERATOR, plain, shown, toml
from gancore_training.grid import Grid
from gancore_training.rows import Rows, log_rows, newest, score_rows
from gancore_training.run_folder import RunFolder
from gancore_training.sampling import sample
from gancore_training.streams import TURN, streams_as_before

if TYPE_CHECKING:
    from gancore.tools import Run

SHOWN, COLUMNS = 40, 10
"""Images of the grid by which a run shows itself, and of them in a row."""


class RecipeTable(dict[str, Any]):
    """A recipe's resolved table. Shows itself as TOML, and can be trained again: ``gancore.train(run.recipe, ...)``."""

    def __repr__(self) -> str:
        return toml.dumps(self)


class TrainedRun:
    """A run that `gancore.train` has trained or `gancore.load` has opened.

    Attributes:
        path: Its folder.
        messages: What the command line would have shown while it was trained or opened.
    """

    def __init__(self, run: Run, path: Path, messages: Sequence[str] = ()) -> None:
        self._run = run
        # Wherever the process goes, the run lies where it lay.
        self._folder = RunFolder(path.absolute())
        self.path = path
        self.messages = list(messages)

    @property
    def name(self) -> str:
        """The recipe by its name, with those that were laid over it."""
        return self._run.recipe.name

    @property
    def recipe(self) -> RecipeTable:
        """The recipe's resolved table."""
        return RecipeTable(toml.read(self._folder.recipe))

    @property
    def iteration(self) -> int:
        """After how many iterations the weights are."""
        return self._run.iteration

    @property
    def checkpoint(self) -> Path:
        """The file of its weights, and of all else that the training goes on from."""
        return self._folder.path / "checkpoints" / f"{self.iteration:08d}.safetensors"

    @property
    def weights(self) -> str:
        """Which weights of the generator are used: ``ema``, its moving average, or ``live`` where the recipe keeps none."""
        return "live" if self._run.average is None else "ema"

    @property
    def generator(self) -> nn.Module:
        """The generator, with the weights that `weights` says, in evaluation mode.

        Called with latents (N, latent_dim), and labels (N,) where it is conditional, it gives images (N, C, H, W) in [-1, 1].

        Raises:
            GancoreError: The recipe has no generator.
        """
        network: nn.Module = self._run.generator(self.weights).eval()
        return network

    @property
    def log(self) -> Rows:
        """The log, a row a line: ``iteration``, ``seconds``, ``images_per_second``, ``loss/NAME``, ``monitor/NAME``."""
        return log_rows(self._folder)

    @property
    def scores(self) -> Rows:
        """All scores, a row each: ``iteration``, ``score``, ``value``, ``better``, ``protocol``."""
        return score_rows(self._folder)

    def generate(self, n: int, *, classes: int | Iterable[int] = (), seed: int = 0) -> Tensor:
        """Return generated images (n, C, H, W), float32 in [-1, 1], on the CPU: those of `gancore sample` for the same seed.

        Args:
            n: How many.
            classes: Labels to ask a conditional generator for, in turn; by default all that occur, or as the latents draw them.
            seed: Of the latents.

        Raises:
            GancoreError: The recipe has no generator, or no such class, or the number is none.
        """
        return self.generate_labeled(n, classes=classes, seed=seed)[0]

    def generate_labeled(self, n: int, *, classes: int | Iterable[int] = (), seed: int = 0) -> tuple[Tensor, Tensor]:
        """Return generated images as `generate` does, and the labels that they were asked for, (n,) or (n, A) attributes."""
        for name, number, least in (("n", n, 1), ("seed", seed, 0)):
            if not isinstance(number, int) or isinstance(number, bool) or number < least:
                raise GancoreError(f"{name} must be a whole number of at least {least}, not {shown(number)}.")
        wanted = [classes] if isinstance(classes, int) else list(classes)
        if not all(isinstance(label, int) for label in wanted):
            raise GancoreError(f"classes must be whole numbers, e.g. [3, 5], not {shown(wanted)}.")
        with TURN, streams_as_before(self._run.device):
            return sample(self._run, n, wanted, seed=seed, weights=self.weights)

    def grid(self, n: int = SHOWN, *, classes: int | Iterable[int] = (), seed: int = 0, columns: int = COLUMNS) -> Grid:
        """Return generated images as `generate` does, as a grid that shows itself in a notebook."""
        images, labels = self.generate_labeled(n, classes=classes, seed=seed)
        return Grid(images, labels, columns, self._run.plan.registry)

    def __repr__(self) -> str:
        lines = [f"{type(self).__name__}({str(self.path)!r})"]
        lines += [f"  {name:11} {value}" for name, value in self._facts().items()]
        for row in newest(self.scores):
            value = row["value"]
            number = f"{value:.4g}" if isinstance(value, float) else str(value)
            better = f" ({row['better']} is better)" if row["better"] else ""
            lines.append(f"  {'score':11} {row['score']} {number}{better}")
        return "\n".join(map(plain, lines))

    def _facts(self) -> dict[str, str]:
        facts = {"recipe": self.name, "iteration": f"{self.iteration} of {self._run.recipe.run.iterations}"}
        if GENERATOR in self._run.networks:
            number = sum(parameter.numel() for parameter in self.generator.parameters())
            facts["generator"] = f"{type(self.generator).__name__}, {number:,} parameters, weights: {self.weights}"
        return {**facts, "folder": str(self.path)}

    @functools.cached_property
    def _shown(self) -> Grid | None:
        """Generated images, or None without a generator."""
        return self.grid() if GENERATOR in self._run.networks else None

    def _repr_png_(self) -> bytes | None:
        return None if self._shown is None else self._shown.png

    def _repr_html_(self) -> str:
        image = None if self._shown is None else self._shown._repr_html_()
        facts = "".join(
            f"<tr><th>{name}</th><td>{html.escape(plain(value))}</td></tr>" for name, value in self._facts().items()
        )
        scores = newest(self.scores)
        return f"<div><table>{facts}</table>{image or ''}{scores._repr_html_() if scores else ''}</div>"

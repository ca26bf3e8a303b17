"""Scoring images that others made, by the metrics and the protocols of a recipe."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
from torch import Tensor

from gancore import GancoreError, Rows
from gancore.tools import distributed, listed, load_split, parameters_of, to_unit
from gancore_training.contents import digest_of
from gancore_training.evaluate import Evaluator
from gancore_training.options import command_line
from gancore_training.sample_files import class_folders

if TYPE_CHECKING:
    from gancore.tools import Run

READER = "standard/image-files"
"""The image set that reads files: built with a path, a size and channels, it gives all their images."""

_UNKNOWN = ("sample_seed", "weights", "batch_norm", "fake_labels")
"""What a protocol says of generated images that files do not tell."""


@attrs.frozen
class GivenImages:
    """Images of files, as many as a recipe's evaluation takes.

    Attributes:
        images: (N, C, H, W) uint8.
        labels: (N,) int64, or None where the files tell none.
        resized: Whether they were resized where they had another size.
    """

    images: Rows
    labels: Tensor | None
    resized: bool = False


def read_images(path: Path, run: Run, *, resize: bool = False) -> GivenImages:
    """Return the images of a folder or an npz file that a run's evaluation takes: `evaluation.samples`, evenly spaced.

    Args:
        path: The folder or file.
        run: Of the recipe by which they are scored.
        resize: Resize those of another size than the recipe's.

    Raises:
        GancoreError: No installed plugin reads images, the files hold fewer than the recipe scores, or others than it has.
    """
    info, registry = run.plan.info, run.plan.registry
    number = run.recipe.evaluation.samples * run.plan.group
    if info.continuous:
        raise GancoreError(
            f"{run.recipe.name} has points in the plane, which no file of images holds; choose another --recipe."
        )
    reader = registry.load(registry.component("dataset", READER, where=command_line("evaluate", path)))
    names = class_folders(info) if info.classes else None
    dataset = reader(
        path=str(path), image_size=info.image_size, channels=info.channels, resize=resize, class_names=names, number=number
    )
    images, labels = load_split(dataset, "test")
    if len(images) < number:
        raise GancoreError(
            f"{path} holds {len(images)} images, and {run.recipe.name} scores {number}; give as many, or score fewer: "
            f"--set evaluation.samples={len(images) // run.plan.group}."
        )
    known = dataset.info.classes == info.classes and bool(dataset.info.class_names)
    return GivenImages(images, labels if known else None, resize)


class GivenEvaluator(Evaluator):
    """The metrics of a recipe, of given images in the place of generated ones.

    Args:
        run: Of the recipe; its networks that metrics read are there, and what it generates is not asked for.
        given: The images.
        only: Labels of the metrics to compute; None for all that can be computed of images.

    Attributes:
        left_out: Metrics that need more than images -> what that is.

    Raises:
        GancoreError: There is no such metric, or one that was asked for needs more than images.
    """

    def __init__(self, run: Run, given: GivenImages, only: Collection[str] | None = None) -> None:
        self.given = given
        known = {"images", "logits", "features", *(["labels"] if given.labels is not None else [])}
        self.left_out = {}
        for label, planned in run.plan.metrics.items():
            lacks = lacking(planned.cls, known)
            if lacks:
                self.left_out[label] = lacks
        for label in only or ():
            if label in self.left_out:
                raise GancoreError(
                    f"the metric {label} of {run.recipe.name} needs {self.left_out[label]}, which files do not hold."
                )
        chosen = only if only is not None else [label for label in run.plan.metrics if label not in self.left_out]
        if not chosen:
            raise GancoreError(f"{run.recipe.name} has no metric of images alone; name some, e.g. --set metrics.fid.use=fid.")
        super().__init__(run, chosen)
        for label, metric in self.metrics.items():
            if run.iteration == 0 and metric.network in run.plan.players:
                raise GancoreError(
                    f"the metric {label} of {run.recipe.name} reads the network {metric.network}, which the recipe trains; "
                    "name a run of it by --recipe, or leave the metric out by --metric."
                )

    def _generated(self) -> Iterator[dict[str, Tensor]]:
        size = self.run.recipe.evaluation.batch_size
        for start in range(0, len(self.given.images), size):
            rows = distributed.own_rows(self.given.images[start : start + size]).to(self.run.device)
            batch = {"images": to_unit(rows)}
            if self.given.labels is not None:
                batch["labels"] = distributed.own_rows(self.given.labels[start : start + size]).to(self.run.device)
            yield batch

    def _protocol(self, label: str, metric: Any) -> dict[str, Any]:
        protocol = {key: value for key, value in super()._protocol(label, metric).items() if key not in (*_UNKNOWN, "id")}
        protocol["generated_by"] = "others, resized" if self.given.resized else "others"
        return {"id": digest_of(protocol, 8), **protocol}


def lacking(cls: type, known: Collection[str]) -> str:
    """Return what a metric's class needs beyond images and what is known with them; empty where that is nothing."""
    if not hasattr(cls, "update"):
        return "a run"
    needed = [name for name, required in parameters_of(cls.update).items() if required and name not in known]
    return listed(needed, none="")

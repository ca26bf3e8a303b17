"""The files of a proxy set: a summary, and one file or folder for each cycle, written and read whole."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, get_args

import attrs
import numpy as np
import torch
from PIL import Image
from torch import Tensor

import gancore
from gancore.tools import read_tensors, write_tensors, write_text

FORMAT = 1

SUMMARY = "proxy.json"

SETTINGS = "settings.json"
"""Beside the cycles from the first one on: what the set will be, so that no other set's cycles are taken for its own."""

Form = Literal["safetensors", "png"]

Shape = tuple[int, int, int]

_PICTURE = re.compile(r"(\d{5,})-c(\d+)\.png")


@attrs.frozen
class ProxySummary:
    """What a proxy set holds, as its ``proxy.json`` says.

    Attributes:
        channels: Channels C of an image.
        image_size: Height and width.
        classes: Classes K of the classifier that labeled the images.
        form: ``safetensors`` or ``png``.
        cycles: Iteration at which each cycle ended.
        counts: For each cycle, images of each class.
        about: How the set was made.
        certainty: For each cycle, mean confidence and mean entropy of its images; empty for a set that was made before they
            were kept.
    """

    channels: int
    image_size: int
    classes: int
    form: Form
    cycles: list[int]
    counts: list[list[int]]
    about: dict[str, Any] = attrs.field(factory=dict)
    certainty: list[tuple[float, float]] = attrs.field(factory=list)

    @property
    def confidence(self) -> float | None:
        """Mean over the images of the probability of the predicted class, in [0, 1]; None where it was not kept."""
        return self._mean(0)

    @property
    def entropy(self) -> float | None:
        """Mean over the images of the entropy of the classes' probabilities, in nats; None where it was not kept."""
        return self._mean(1)

    def _mean(self, place: int) -> float | None:
        if not self.certainty:
            return None
        sizes = [sum(counts) for counts in self.counts]
        return sum(one[place] * size for one, size in zip(self.certainty, sizes, strict=True)) / max(sum(sizes), 1)

    @property
    def images(self) -> int:
        """Number of images."""
        return sum(map(sum, self.counts))

    @property
    def distinct(self) -> list[int]:
        """Distinct predicted classes of each cycle."""
        return [sum(count > 0 for count in counts) for counts in self.counts]

    @property
    def distinct_so_far(self) -> list[int]:
        """Distinct predicted classes of all cycles up to each (CBGAN Fig. 7)."""
        seen = np.cumsum(np.asarray(self.counts, dtype=np.int64).reshape(len(self.counts), -1), axis=0)
        return [int(row) for row in (seen > 0).sum(axis=1)]

    @classmethod
    def read(cls, folder: Path) -> ProxySummary:
        """Return the summary of a proxy set.

        Raises:
            GancoreError: There is none, or it is damaged.
        """
        path = folder / SUMMARY
        if not path.is_file():
            what = "is not finished" if folder.is_dir() else "does not exist"
            raise gancore.GancoreError(f"the proxy set {folder} {what} (there is no {path}); make it by `gancore uap prior`.")
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            if content["format"] != FORMAT:
                raise ValueError(f"format {content['format']}")
            cycles = [(int(one["cycle"]), [int(n) for n in one["counts"]]) for one in content["cycles"]]
            certainty = [(float(one["confidence"]), float(one["entropy"])) for one in content["cycles"] if "entropy" in one]
            numbers = {key: int(content[key]) for key in ("channels", "image_size", "classes")}
            form, about = content["form"], dict(content["about"])
            _check_numbers(numbers, form, cycles)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise gancore.GancoreError(f"{path} is damaged ({error}); make the proxy set anew in another folder.") from error
        certainty = certainty if len(certainty) == len(cycles) else []
        ends, counts = [end for end, _ in cycles], [count for _, count in cycles]
        return cls(**numbers, form=form, cycles=ends, counts=counts, about=about, certainty=certainty)


def _check_numbers(numbers: Mapping[str, int], form: Any, cycles: Sequence[tuple[int, list[int]]]) -> None:
    """Raise `ValueError` where a summary says what no set can be."""
    for key, value in numbers.items():
        if value < 1:
            raise ValueError(f"{key} is {value}")
    if form not in get_args(Form):
        raise ValueError(f"form is {form!r}")
    for cycle, counts in cycles:
        if len(counts) != numbers["classes"] or min(counts) < 0:
            raise ValueError(f"cycle {cycle} does not count {numbers['classes']} classes")


class Writer:
    """Streams a proxy set to disk, cycle by cycle, each whole or not at all.

    A set that was begun is continued where it is the same one: of the same form, size, classes and `about`.

    Args:
        folder: Where the set goes; cycles that lie there already are kept.
        form: One safetensors file a cycle, or a folder of PNG files, whose names end with the predicted class.
        channels: Channels C of an image.
        image_size: Height and width.
        classes: Classes K of the classifier that labels the images.
        about: How the set is made; anything that JSON holds.

    Raises:
        GancoreError: The form is unknown or does not go with the channels, or the folder holds another proxy set.
    """

    def __init__(
        self, folder: Path, *, form: Form, channels: int, image_size: int, classes: int, about: Mapping[str, Any]
    ) -> None:
        self.folder = folder
        self.form: Form = form
        self.shape = (channels, image_size, image_size)
        self.classes = classes
        self.about = dict(about)
        if form not in get_args(Form):
            raise gancore.GancoreError(f"a proxy set is kept as 'safetensors' or 'png', not as {form!r}; choose one of them.")
        if form == "png" and channels not in (1, 3):
            raise gancore.GancoreError(f"PNG files have 1 or 3 channels, and the images {channels}; keep them as safetensors.")
        self._counts: dict[int, list[int]] = {}
        self._begun = self._find()
        # Left by a run that was killed in the middle of a cycle.
        for leftover in folder.glob(".cycle-*.part"):
            shutil.rmtree(leftover) if leftover.is_dir() else leftover.unlink()

    def _settings(self) -> dict[str, Any]:
        channels, image_size, _ = self.shape
        numbers = {"channels": channels, "image_size": image_size, "classes": self.classes}
        return {"format": FORMAT, **numbers, "form": self.form, "about": self.about}

    def _find(self) -> bool:
        """Return whether the folder holds this set already, finished or not."""
        path = next((self.folder / name for name in (SUMMARY, SETTINGS) if (self.folder / name).is_file()), None)
        if path is None:
            return False
        try:
            content = dict(json.loads(path.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError) as error:
            raise gancore.GancoreError(f"{path} is damaged ({error}); choose another --out.") from error
        # By way of JSON, which has no tuples.
        for key, value in json.loads(json.dumps(self._settings())).items():
            if content.get(key) != value:
                raise gancore.GancoreError(
                    f"{self.folder} holds another proxy set ({key} is {content.get(key)!r} there and {value!r} here); "
                    "choose another --out."
                )
        return True

    def has(self, cycle: int) -> bool:
        """Return whether a cycle lies there, whole and sound; one that is damaged is to be added again."""
        if cycle not in self._counts and self._begun:
            try:
                _, labels = read_cycle(self.folder, self.form, cycle, self.shape, self.classes)
            except gancore.GancoreError:
                return False
            self._counts[cycle] = self._counted(labels)
        return cycle in self._counts

    def add(self, cycle: int, images: Tensor, labels: Tensor) -> None:
        """Write a cycle, in place of one that lies there.

        Args:
            cycle: Iteration at which it ended.
            images: (n, C, H, W) uint8, n of 1 or more.
            labels: Predicted classes (n,) int64, in [0, K).

        Raises:
            GancoreError: They are of another shape, type or range, or the folder can't be written.
        """
        path = _place(self.folder, self.form, cycle)
        problem = _problem(images, labels, self.shape, self.classes)
        if problem:
            raise gancore.GancoreError(f"{path} can't be written: {problem}; give what the proxy set was made for.")
        if self.form == "safetensors":
            write_tensors(path, {"images": images, "labels": labels}, {"kind": "proxy", "cycle": cycle})
        else:
            self._write_pictures(path, images, labels)
        self._counts[cycle] = self._counted(labels)
        if not self._begun:
            write_text(self.folder / SETTINGS, json.dumps(self._settings()) + "\n")
            self._begun = True

    def _write_pictures(self, path: Path, images: Tensor, labels: Tensor) -> None:
        partial = path.with_name(f".{path.name}.part")
        shutil.rmtree(partial, ignore_errors=True)
        try:
            partial.mkdir(parents=True)
            for number, (image, label) in enumerate(zip(images.cpu(), labels.tolist(), strict=True)):
                pixels = image.permute(1, 2, 0).squeeze(-1).numpy()
                Image.fromarray(pixels).save(partial / f"{number:05d}-c{label}.png")
            if path.exists():
                shutil.rmtree(path)
            partial.replace(path)
        except OSError as error:
            shutil.rmtree(partial, ignore_errors=True)
            raise gancore.GancoreError(
                f"{path} can't be written: {error.strerror}; free space or choose another --out."
            ) from error

    def _counted(self, labels: Tensor) -> list[int]:
        counts: list[int] = torch.bincount(labels.cpu(), minlength=self.classes).tolist()
        return counts

    def images_of(self, cycle: int) -> Tensor:
        """Return the images (n, C, H, W) uint8 of a cycle that lies there.

        Raises:
            GancoreError: It is missing or damaged.
        """
        images, _ = read_cycle(self.folder, self.form, cycle, self.shape, self.classes)
        return images

    def finish(self, cycles: Sequence[int], certainty: Sequence[tuple[float, float]] = ()) -> ProxySummary:
        """Write ``proxy.json``, which makes the set whole, and return the summary of some cycles, in this order.

        Args:
            cycles: Iterations at which they ended.
            certainty: Mean confidence and mean entropy of each cycle's images, where they are known.

        Raises:
            GancoreError: A cycle is missing or damaged, or the file can't be written.
        """
        for cycle in cycles:
            if cycle not in self._counts:
                _, labels = read_cycle(self.folder, self.form, cycle, self.shape, self.classes)
                self._counts[cycle] = self._counted(labels)
        channels, image_size, _ = self.shape
        counts = [self._counts[cycle] for cycle in cycles]
        known = list(certainty)
        summary = ProxySummary(channels, image_size, self.classes, self.form, list(cycles), counts, self.about, known)
        listed: list[dict[str, Any]] = [{"cycle": c, "counts": n} for c, n in zip(cycles, counts, strict=True)]
        for one, (confidence, entropy) in zip(listed, known, strict=False):
            one |= {"confidence": confidence, "entropy": entropy}
        write_text(self.folder / SUMMARY, json.dumps({**self._settings(), "cycles": listed}) + "\n")
        return summary


def _place(folder: Path, form: Form, cycle: int) -> Path:
    return folder / (f"cycle-{cycle:08d}.safetensors" if form == "safetensors" else f"cycle-{cycle:08d}")


def damaged(folder: Path, form: Form, cycle: int, what: str) -> gancore.GancoreError:
    """Return the error that says what is wrong with a cycle, and how to make it again."""
    path, summary = _place(folder, form, cycle), folder / SUMMARY
    return gancore.GancoreError(f"{path} of the proxy set {what}; delete it and {summary}, and repeat `gancore uap prior`.")


def _problem(images: Tensor, labels: Tensor, shape: Shape, classes: int) -> str:
    """Return what is wrong with a cycle's images and predicted classes; an empty text where nothing is."""
    if images.ndim != 4 or tuple(images.shape[1:]) != shape or images.dtype != torch.uint8 or not len(images):
        return f"its images are {tuple(images.shape)} {images.dtype}, not 8-bit ones of {shape}"
    if labels.shape != images.shape[:1] or labels.dtype != torch.int64:
        return f"its labels are {tuple(labels.shape)} {labels.dtype} for {len(images)} images"
    if not 0 <= int(labels.min()) <= int(labels.max()) < classes:
        return f"a label lies outside the {classes} classes"
    return ""


def read_cycle(folder: Path, form: Form, cycle: int, shape: Shape, classes: int) -> tuple[Tensor, Tensor]:
    """Return a cycle's images (n, C, H, W) uint8 and predicted classes (n,) int64.

    Raises:
        GancoreError: It is missing or damaged, or of another shape, type or range.
    """
    path = _place(folder, form, cycle)
    if not path.exists():
        raise gancore.GancoreError(f"the proxy set lacks {path}; delete {folder / SUMMARY} and repeat `gancore uap prior`.")
    try:
        if form == "safetensors":
            tensors, _ = read_tensors(path)
            images, labels = tensors["images"], tensors["labels"]
        else:
            images, labels = _read_pictures(path, shape)
    except Exception as error:
        # Decoders of damaged files raise whatever they stumble over.
        raise damaged(folder, form, cycle, f"is damaged ({str(error).rstrip('.')})") from error
    problem = _problem(images, labels, shape, classes)
    if problem:
        raise damaged(folder, form, cycle, f"does not fit: {problem}")
    return images, labels


def _read_pictures(path: Path, shape: Shape) -> tuple[Tensor, Tensor]:
    matches = [match for match in (_PICTURE.fullmatch(file.name) for file in path.iterdir() if file.is_file()) if match]
    names = {int(match[1]): match for match in matches}
    if sorted(names) != list(range(len(matches))):
        raise ValueError("its pictures are not numbered without a gap")
    channels, image_size, _ = shape
    images = np.empty((len(names), image_size, image_size, channels), dtype=np.uint8)
    for number, match in names.items():
        with Image.open(path / match[0], formats=["PNG"]) as picture:
            # Checked here, since as many pixels of another form would fit.
            if picture.size != (image_size, image_size) or picture.mode != ("L" if channels == 1 else "RGB"):
                raise ValueError(f"{match[0]} is {picture.size[0]} x {picture.size[1]} {picture.mode}, not of {shape}")
            images[number] = np.asarray(picture).reshape(image_size, image_size, channels)
    labels = torch.tensor([int(names[number][2]) for number in range(len(names))], dtype=torch.int64)
    return torch.from_numpy(np.ascontiguousarray(images.transpose(0, 3, 1, 2))), labels

"""What a folder of images holds: classes and counts, sizes and shapes, color, transparency, and what can't be read."""

from __future__ import annotations

import io
import statistics
import warnings
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import attrs
import numpy as np
from PIL import Image

from gancore import GancoreError
from gancore_standard.datasets.class_folders import (
    class_folders,
    loose_pictures,
    pictures_of_class,
    subfolders,
    tested_classes,
    whole_folder,
)
from gancore_standard.datasets.decoding import FORMATS, UnreadableError, decode, unreadable
from gancore_standard.datasets.image_folder import are_test

OPENED = 5000
"""Images that are opened; of more, so many that lie evenly among them."""

TEST_FRACTION = 0.1
"""Share of the images that is kept apart to test on, where the folder has no splits."""

ELONGATED = 1.5
"""An image that is more than so many times as long as wide loses much where its middle square is taken."""


@attrs.frozen
class Looked:
    """What is known of one image.

    Attributes:
        kind: Its format, e.g. ``PNG``.
        width: Pixels.
        height: Pixels.
        gray: Whether its red, green and blue are equal everywhere.
        transparent: Whether something is seen through it.
    """

    kind: str
    width: int
    height: int
    gray: bool
    transparent: bool


@attrs.frozen
class Survey:
    """What a folder of images holds.

    Attributes:
        path: The folder.
        classes: Images to train on by class; of a folder without classes, one that is called ``all``.
        labels: Whether the classes are those of folders.
        test: Images to test on.
        split: Whether the folder itself says which images those are.
        loose: Images beside class folders, which are left aside.
        linked: Folders among the classes that are links.
        looked: Images that were opened.
    """

    path: Path
    classes: dict[str, int]
    labels: bool
    test: int
    split: bool
    loose: int
    linked: int
    looked: list[Looked]

    @property
    def train(self) -> int:
        """Images to train on."""
        return sum(self.classes.values())

    @property
    def side(self) -> int:
        """The shorter side of an image in pixels, the median."""
        return round(statistics.median(min(one.width, one.height) for one in self.looked))

    @property
    def imbalance(self) -> float:
        """Images of the largest class, in those of the smallest."""
        return max(self.classes.values()) / min(self.classes.values())

    def told(self) -> list[tuple[str, str]]:
        """Return what is known, as pairs of a word and a text."""
        counts = sorted(self.classes.items(), key=lambda one: -one[1])
        names = ", ".join(f"{name} {count:,}" for name, count in counts[:4])
        more = f", and {len(counts) - 4:,} more" if len(counts) > 4 else ""
        apart = "as the folder splits them" if self.split else "kept apart, evenly spaced"
        sizes = sorted((one.width, one.height) for one in self.looked)
        short = sorted(min(one.width, one.height) for one in self.looked)
        kinds = Counter(one.kind for one in self.looked).most_common()
        rows = [
            ("images", f"{self.train:,} to train on, {self.test:,} to test on ({apart})"),
            ("classes", f"{len(counts):,}: {names}{more}" if self.labels else "none: no folder per class"),
            ("formats", ", ".join(f"{kind} {count:,}" for kind, count in kinds)),
            ("sizes", f"{_size(sizes[0])} to {_size(sizes[-1])}; shorter side {short[0]} to {short[-1]}, mostly {self.side}"),
            ("color", self._color()),
        ]
        if transparent := self._count("transparent"):
            rows.append(("transparent", f"{transparent:,}, to be laid over white"))
        if elongated := sum(max(one.width, one.height) > ELONGATED * min(one.width, one.height) for one in self.looked):
            rows.append(("shape", f"{elongated:,} over {ELONGATED} times as long as wide; the middle square is taken"))
        if self.linked:
            rows.append(
                ("links", f"{self.linked:,} class folder{'s are links' if self.linked > 1 else ' is a link'}, followed")
            )
        if self.loose:
            rows.append(("left aside", f"{self.loose:,} that lie beside the class folders"))
        if len(self.looked) < self.train + self.test:
            rows.append(("opened", f"{len(self.looked):,} of {self.train + self.test:,}, evenly spaced"))
        return rows

    @property
    def gray(self) -> bool:
        """Whether no image that was opened has color."""
        return self._count("gray") == len(self.looked)

    def _color(self) -> str:
        gray = self._count("gray")
        if gray in (0, len(self.looked)):
            return "gray, all of them" if gray else "in color, all of them"
        return f"{gray:,} gray, the others in color"

    def _count(self, what: str) -> int:
        return sum(getattr(one, what) for one in self.looked)


def survey(path: Path, *, labels: bool | None = None) -> Survey:
    """Look at a folder of images, as `image-folder` will read it.

    Args:
        path: The folder.
        labels: Whether its folders are classes; None to find out.

    Raises:
        GancoreError: It is no folder, or holds no images or a single one; images can't be read; or it may be read in two ways.
    """
    if not path.is_dir():
        raise GancoreError(f"{path} is {'no folder' if path.exists() else 'not there'}; name a folder of images.")
    labels = _has_classes(path) if labels is None else labels
    folders = class_folders(path) if labels else whole_folder(path)
    places = {name: folders.train / name for name in folders.names} if labels else {folders.names[0]: folders.train}
    paths = {name: _pictures(place, path, nested=not labels) for name, place in places.items()}
    test = (
        []
        if folders.split
        else [own[place] for own in paths.values() for place in are_test(len(own), TEST_FRACTION).nonzero()[0].tolist()]
    )
    if folders.split and folders.test is not None:
        tested = tested_classes(folders, path)[1] if labels else ("",)
        test = [each for name in tested for each in _pictures(folders.test / name, path, nested=not labels)]
    apart = set() if folders.split else set(test)
    everything = [*dict.fromkeys([*(each for own in paths.values() for each in own), *test])]
    if len(everything) < 2:
        raise GancoreError(f"{path} holds a single image, and a GAN learns from many; add more.")
    return Survey(
        path=path,
        classes={name: sum(each not in apart for each in own) for name, own in paths.items()},
        labels=labels,
        test=len(test),
        split=folders.split,
        loose=loose_pictures(folders.train) if labels else 0,
        linked=sum(place.is_symlink() for place in places.values()) if labels else 0,
        looked=_looked_at(everything[:: -(-len(everything) // OPENED)]),
    )


def _has_classes(path: Path) -> bool:
    """Return whether a folder has folders in it that are meant as classes: any but splits without folders of their own."""
    train = whole_folder(path).train if any(subfolders(path)) else path
    return bool(subfolders(train))


def _pictures(folder: Path, path: Path, *, nested: bool) -> list[Path]:
    try:
        return [folder / name for name in pictures_of_class(folder, nested=nested)]
    except GancoreError as error:
        if nested:
            raise GancoreError(f"{folder} holds no image; name a folder that holds some.") from error
        raise GancoreError(f"{str(error).split(', or set [data]')[0].rstrip('.')}; {path} can't be read as it is.") from error


def _looked_at(paths: Sequence[Path]) -> list[Looked]:
    """Open images, on all cores; those that can't be read are named together."""

    def tried(path: Path) -> Looked | UnreadableError:
        try:
            return _look(path)
        except UnreadableError as error:
            return error

    with ThreadPoolExecutor() as pool:
        results = list(pool.map(tried, paths))
    problems = [one for one in results if isinstance(one, UnreadableError)]
    if problems:
        raise unreadable(problems)
    return [one for one in results if isinstance(one, Looked)]


def _look(path: Path) -> Looked:
    """Open one image, as it will be read to train on."""
    seen = decode(path, 16, 3, name=str(path))
    content = io.BytesIO(path.read_bytes())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with Image.open(content, formats=FORMATS) as image:
            kind, (width, height) = str(image.format), image.size
            may = "transparency" in image.info or bool({"A", "a"} & set(image.getbands()))
    through = may and not np.array_equal(seen, decode(path, 16, 3, name=str(path), background="black"))
    return Looked(kind, width, height, bool((seen == seen[:1]).all()), bool(through))


def _size(size: tuple[int, int]) -> str:
    return f"{size[0]} x {size[1]}"

"""How a folder of pictures is meant: where its classes are, which of them are splits, and which files are pictures.

What can be read in two ways is refused or told, so that no folder becomes a class without a word.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import attrs

from gancore import GancoreError
from gancore.tools import did_you_mean, listed
from gancore_standard.datasets.folders import exists
from gancore_standard.datasets.listings import EXTENSIONS, Listing, closed, is_folder, is_picture, listing_of

TRAIN = ("train", "training")
TEST = ("test", "testing", "val", "valid", "validation")
"""Names of folders, in lower case, that are splits; of several to test on the first is."""


ALL = "all"
"""The one class of a folder without classes."""


@attrs.frozen
class ClassFolders:
    """Where the classes of a folder are.

    Attributes:
        names: The classes.
        train: The folder that holds a folder for each.
        test: Another folder that holds folders of them to test on, if there is one.
        split: Whether `train` is a split of its own, rather than the whole.
    """

    names: tuple[str, ...]
    train: Path
    test: Path | None
    split: bool


def class_folders(path: Path) -> ClassFolders:
    """Return where the classes of a folder are.

    Raises:
        GancoreError: The folder does not exist, or holds no class folders, or splits that can't be told from classes.
    """
    if not exists(path):
        raise GancoreError(f"The image folder {path} was not found; correct [data] path.")
    names = subfolders(path)
    trains = [name for name in names if name.lower() in TRAIN and subfolders(path / name)]
    tests = _tests(names)
    if len(trains) > 1:
        raise GancoreError(f"{path} holds {listed(trains)}, both with class folders; leave one of them there.")
    if trains:
        train = path / trains[0]
        return ClassFolders(subfolders(train), train, path / tests[0] if tests else None, split=True)
    if not names or {name.lower() for name in names} <= {*TRAIN, *TEST}:
        place = next((path / name for name in names if name.lower() in TRAIN), path)
        raise GancoreError(
            f"{place} holds no class folders; put the images of each class in a folder of its own there, "
            "or set [data] labels = false."
        )
    if tests:
        raise GancoreError(
            f"{path} holds {tests[0]} among class folders; put those to train on in {path / 'train'}, or rename "
            f"{tests[0]} if it is a class."
        )
    return ClassFolders(names, path, None, split=False)


def whole_folder(path: Path) -> ClassFolders:
    """Return where the pictures of a folder without classes are: in its splits, or anywhere below it; as of one class.

    Raises:
        GancoreError: The folder does not exist, or has a split to test on beside none to train on.
    """
    if not exists(path):
        raise GancoreError(f"The image folder {path} was not found; correct [data] path.")
    names = subfolders(path)
    trains, tests = [name for name in names if name.lower() in TRAIN], _tests(names)
    if len(trains) > 1:
        raise GancoreError(f"{path} holds {listed(trains)}; leave one of them there.")
    if tests and not trains:
        raise GancoreError(f"{path} holds {tests[0]} and no train; put the images to train on in {path / 'train'}.")
    if trains:
        return ClassFolders((ALL,), path / trains[0], path / tests[0] if tests else None, split=True)
    return ClassFolders((ALL,), path, None, split=False)


def _tests(names: Sequence[str]) -> list[str]:
    """Return the folders to test on, the one that is taken first."""
    return sorted((name for name in names if name.lower() in TEST), key=lambda name: TEST.index(name.lower()))


def tested_folder(folders: ClassFolders, path: Path) -> Path:
    """Return the folder to test on of a folder that has splits.

    Raises:
        GancoreError: There is none.
    """
    if folders.test is None:
        what = "more images" if folders.names == (ALL,) else "the same class folders"
        raise GancoreError(f"{path} has {folders.train.name}/ but no test/ or val/ folder; add one with {what}.")
    return folders.test


def tested_classes(folders: ClassFolders, path: Path) -> tuple[Path, tuple[str, ...]]:
    """Return the folder to test on of a folder that has splits, and its classes.

    Raises:
        GancoreError: There is none, or it holds no class, or one without training images.
    """
    test = tested_folder(folders, path)
    classes = subfolders(test)
    for name in classes:
        if name not in folders.names:
            raise GancoreError(
                f"{test / name} is a class without training images{did_you_mean(name, folders.names)}; "
                f"rename it, or add {folders.train / name}."
            )
    if not classes:
        raise GancoreError(f"{test} holds no class folders; give it the class folders of {folders.train}.")
    return test, classes


def subfolders(folder: Path) -> tuple[str, ...]:
    """Return the names of a folder's folders, links to folders included, but for hidden ones; none where there is no folder."""
    if not exists(folder) or not folder.is_dir():
        return ()
    try:
        with os.scandir(folder) as entries:  # which knows of most files what they are without asking
            return tuple(sorted(entry.name for entry in entries if is_folder(entry) and not entry.name.startswith(".")))
    except OSError as error:
        raise closed(error) from error


def check_class(folder: Path, pictures: Listing, *, nested: bool) -> None:
    """Refuse a class folder without pictures, or whose folders look like splits or like classes.

    Args:
        folder: The class folder.
        pictures: What lies in it.
        nested: Whether the folders in it are known to belong to the class.

    Raises:
        GancoreError: It is so.
    """
    if not len(pictures):
        raise GancoreError(
            f"The class folder {folder} holds no image ({listed(sorted(EXTENSIONS))}); add images, or remove the folder."
        )
    inner = pictures.inner
    splits = [name for name in inner if name.lower() in (*TRAIN, *TEST)]
    if nested or not (splits or (len(inner) > 1 and not pictures.direct)):
        return
    if splits:
        what, remedy = "splits", "put class folders into splits, and not splits into class folders"
    else:
        what, remedy = "classes", "name the folder that holds the classes in [data] path"
    raise GancoreError(
        f"The class folder {folder} holds images in folders below it that look like {what} ({_few(splits or inner)}); "
        f"{remedy}, or set [data] subfolders = true."
    )


def pictures_of_class(folder: Path, *, nested: bool) -> list[str]:
    """Return the pictures of a class folder and of all folders below it, as paths from it with slashes, in order.

    Args:
        folder: The class folder.
        nested: As for `check_class`.

    Raises:
        GancoreError: As `check_class`; or a folder can't be listed.
    """
    pictures = listing_of(folder)
    check_class(folder, pictures, nested=nested)
    return pictures.names()


def loose_pictures(folder: Path) -> int:
    """Return how many pictures lie beside class folders, in none of them."""
    with os.scandir(folder) as entries:
        return sum(is_picture(entry.name) and entry.is_file() for entry in entries)


def _few(names: Sequence[str]) -> str:
    return listed(names) if len(names) <= 3 else f"{', '.join(names[:3])} and {len(names) - 3} more"

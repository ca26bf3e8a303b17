"""Names of large folders are saved, and taken from there only where listing them anew would give the same."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from gancore_standard.datasets import ImageFolder, image_folder, listings
from gancore_standard.datasets.folder_images import FolderImages
from PIL import Image

from gancore.tools import distributed

OLD = 10**18
"""A time of years ago, in nanoseconds."""


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    cache = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("GANCORE_CACHE", str(cache))
    monkeypatch.setattr(listings, "SAVED_FROM", 5)
    # Folders are as old as `aged` makes them, but for the time of their last change, which nobody can set.
    monkeypatch.setattr(listings, "RECENT", -OLD)
    return cache


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two classes, one of which has a folder in it."""
    for i in range(9):
        picture(tmp_path / "set" / "cat" / f"{i}.png", i)
        picture(tmp_path / "set" / "dog" / ("more" if i % 2 else "") / f"{i}.png", 90 + i)
    return aged(tmp_path / "set")


def picture(path: Path, value: int = 7) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (4, 4), (value, 9, 9)).save(path)


def aged(folder: Path) -> Path:
    """Set back the times of all folders, so that what is written later has another time whatever the clock's steps."""
    for inner in [folder, *(path for path in folder.rglob("*") if path.is_dir())]:
        os.utime(inner, ns=(OLD, OLD))
    return folder


def opened(root: Path, split: str = "train", **settings: Any) -> FolderImages:
    images, _ = ImageFolder(path=str(root), image_size=4, keep="nothing", **{"test_fraction": 0, **settings}).load(split)
    assert isinstance(images, FolderImages)
    return images


def names(images: FolderImages) -> list[tuple[str, int]]:
    return [(images.name(place), int(images.labels[place])) for place in range(len(images))]


def listed_anew(root: Path, monkeypatch: pytest.MonkeyPatch, **settings: Any) -> tuple[list[tuple[str, int]], list[str]]:
    """Return what a folder holds, and which folders were listed for it."""
    looked: list[str] = []
    listing_of = listings.listing_of

    def told(folder: Path) -> listings.Listing:
        looked.append(folder.name)
        return listing_of(folder)

    with monkeypatch.context() as patch:
        patch.setattr(listings, "listing_of", told)
        return names(opened(root, **settings)), looked


def saved(cache: Path) -> list[Path]:
    return sorted((cache / "listings").glob("*"))


def without_saved(root: Path, monkeypatch: pytest.MonkeyPatch, **settings: Any) -> list[tuple[str, int]]:
    with monkeypatch.context() as patch:
        patch.setattr(listings, "_file_of", lambda *_: None)
        return names(opened(root, **settings))


@pytest.mark.parametrize(
    "settings", [{}, {"test_fraction": 0.3}, {"split": "test", "test_fraction": 0.3}, {"labels": False}, {"subfolders": True}]
)
def test_the_next_start_lists_nothing_and_gets_the_same(
    root: Path, own_cache: Path, monkeypatch: pytest.MonkeyPatch, settings: dict[str, Any]
) -> None:
    first = opened(root, **settings)
    assert len(saved(own_cache)) == 1
    assert listed_anew(root, monkeypatch, **settings) == (names(first), [])
    assert names(first) == without_saved(root, monkeypatch, **settings)
    assert torch.equal(opened(root, **settings)[:], first[:])


def add(root: Path) -> None:
    picture(root / "cat" / "00.png")


def add_below(root: Path) -> None:
    picture(root / "dog" / "more" / "00.png")


def remove(root: Path) -> None:
    (root / "cat" / "3.png").unlink()


def rename(root: Path) -> None:
    (root / "dog" / "2.png").rename(root / "dog" / "9.png")


def add_a_class(root: Path) -> None:
    picture(root / "bird" / "0.png")


def replace_a_class(root: Path) -> None:
    (root / "cat").rename(root.parent / "before")
    picture(root / "cat" / "1.png")


def replace_keeping_its_time(root: Path) -> None:
    remove(root)
    aged(root)


def turn_a_link(root: Path) -> None:
    (root.parent / "elsewhere" / "linked").unlink()
    (root.parent / "elsewhere" / "linked").symlink_to(root.parent / "other")


@pytest.mark.parametrize(
    ("change", "looked"),
    [
        (add, ["cat"]),
        (add_below, ["dog"]),
        (remove, ["cat"]),
        (rename, ["dog"]),
        (add_a_class, ["bird"]),
        (replace_a_class, ["cat"]),
        (replace_keeping_its_time, ["cat", "dog"]),
        (turn_a_link, ["dog"]),
    ],
)
def test_a_folder_that_has_changed_is_listed_again_and_no_other(
    root: Path, monkeypatch: pytest.MonkeyPatch, change: Callable[[Path], None], looked: list[str]
) -> None:
    for name in ("one", "other"):
        picture(root.parent / name / f"{name}.png")
    (root.parent / "elsewhere").mkdir()
    (root.parent / "elsewhere" / "linked").symlink_to(root.parent / "one")
    (root / "dog" / "link").symlink_to(root.parent / "elsewhere" / "linked")
    aged(root)
    before = names(opened(root))
    change(root)
    after, again = listed_anew(root, monkeypatch)
    assert after != before
    assert after == without_saved(root, monkeypatch)
    assert again == looked
    # And it is saved as it is now.
    assert listed_anew(root, monkeypatch) == (after, [])


def test_a_file_that_is_replaced_under_its_name_is_read_as_it_is(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = opened(root)
    before = first.fingerprint
    Image.new("RGB", (4, 4), (200, 9, 9)).save(root / "cat" / "3.png")
    again = opened(root)
    assert names(again) == names(first)
    assert again.fingerprint != before
    assert int(again[torch.tensor([3])][0, 0, 0, 0]) == 200


def test_a_folder_that_may_change_unseen_is_not_saved(root: Path, own_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(listings, "RECENT", 60 * 10**9)
        opened(root)
    assert saved(own_cache) == []
    # A folder may lie behind a link to nothing, some day.
    (root / "dog" / "drive").symlink_to(root.parent / "unplugged")
    opened(root)
    picture(root.parent / "unplugged" / "0.png")
    after, looked = listed_anew(root, monkeypatch)
    assert ("dog/drive/0.png", 1) in after
    assert looked == ["dog"]


def test_few_pictures_are_not_saved(root: Path, own_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listings, "SAVED_FROM", 19)
    opened(root)
    assert saved(own_cache) == []


def test_one_rank_saves(root: Path, own_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(distributed, "rank", lambda: 1)
    opened(root)
    assert saved(own_cache) == []


@pytest.mark.parametrize("damage", ["", "cut", "flipped", "longer", "a folder", "a pipe"])
def test_a_damaged_list_is_made_anew(root: Path, own_cache: Path, monkeypatch: pytest.MonkeyPatch, damage: str) -> None:
    before = names(opened(root))
    (file,) = saved(own_cache)
    content = file.read_bytes()
    if damage in ("a folder", "a pipe"):
        file.unlink()
        (file.mkdir if damage == "a folder" else partial(os.mkfifo, file))()
    else:
        flipped = bytes([*content[:200], content[200] ^ 1, *content[201:]])
        file.write_bytes({"": b"", "cut": content[:-3], "flipped": flipped, "longer": content + b"x"}[damage])
    assert listed_anew(root, monkeypatch) == (before, ["cat", "dog"])
    assert file.is_dir() or file.read_bytes() == content


@pytest.mark.parametrize("cache", ["file", "~nobody-of-this-name"])
def test_without_a_cache_it_is_listed_each_time(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cache: str
) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("GANCORE_CACHE", str(tmp_path / cache) if cache == "file" else cache)
    for _ in range(2):
        assert listed_anew(root, monkeypatch)[1] == ["cat", "dog"]


def test_names_of_any_bytes_are_saved(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (b"caf\xe9.png", "ä.png".encode(), "\U0001f408.png".encode(), b"a\nb.png"):
        try:
            (root / "cat" / os.fsdecode(name)).hardlink_to(root / "cat" / "0.png")
        except OSError:
            pytest.skip("this file system takes no such names")
    aged(root)
    first = names(opened(root))
    assert {os.fsdecode(b"cat/caf\xe9.png"), "cat/ä.png", "cat/\U0001f408.png", "cat/a\nb.png"} <= {name for name, _ in first}
    assert listed_anew(root, monkeypatch) == (first, [])


@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="processes can't be forked here")
def test_many_processes_may_save_at_a_time(root: Path, own_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=names_often, args=(root,)) for _ in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0] * 4
    assert len(saved(own_cache)) == 1
    assert listed_anew(root, monkeypatch) == (without_saved(root, monkeypatch), [])


def names_often(root: Path) -> None:
    for turn in range(20):
        if turn % 2:
            for file in saved(Path(os.environ["GANCORE_CACHE"])):
                file.unlink(missing_ok=True)
        assert len(opened(root)) == 18


@pytest.mark.parametrize("fraction", [0.0, 0.1, 0.25, 0.3, 1 / 3, 0.5, 0.7, 0.99])
def test_of_the_first_pictures_of_a_class_each_number_gives_its_share_to_test_on(fraction: float) -> None:
    mask = image_folder.are_test(1000, fraction)
    assert [int(mask[:number].sum()) for number in range(1001)] == [int(number * fraction) for number in range(1001)]

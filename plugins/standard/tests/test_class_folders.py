"""How folders of pictures are meant: no folder becomes a class that was a split, or one level too high, without a word."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from gancore_standard.datasets import ImageFolder
from PIL import Image

from gancore import GancoreError


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GANCORE_CACHE", str(tmp_path_factory.mktemp("cache")))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "set"


def pictures(*paths: Path) -> None:
    for number, path in enumerate(paths):
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (4, 4), (number, 9, 9)).save(path)


def opened(root: Path, *, subfolders: bool = False) -> ImageFolder:
    return ImageFolder(path=str(root), image_size=4, test_fraction=0, subfolders=subfolders)


@pytest.mark.parametrize(
    ("train", "test"),
    [
        ("train", "test"),
        ("training", "testing"),
        ("Train", "Test"),
        ("TRAIN", "Val"),
        ("train", "valid"),
        ("Training", "validation"),
    ],
)
def test_splits_by_their_usual_names_are_splits(root: Path, train: str, test: str) -> None:
    pictures(*(root / train / f"{name}/{i}.png" for name in "abc" for i in range(3)), root / test / "b" / "0.png")
    dataset = opened(root)
    assert dataset.info.class_names == ("a", "b", "c")
    assert dataset.load("train")[1].tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2]
    assert dataset.load("test")[1].tolist() == [1]


def test_of_several_folders_to_test_on_the_one_called_test_is_taken(root: Path) -> None:
    pictures(root / "train/a/0.png", root / "val/a/0.png", root / "val/a/1.png", root / "Test/a/0.png")
    assert len(opened(root).load("test")[0]) == 1


@pytest.mark.parametrize(
    ("paths", "problem"),
    [
        # splits that can't be told from classes
        (["train/a/0", "Training/a/0"], "both with class folders"),
        (["a/0", "b/0", "test/a/0"], "holds test among class folders"),
        (["a/0", "b/0", "Validation/0"], "holds Validation among class folders"),
        (["train/0", "car/0", "val/0"], "holds val among class folders"),
        (["training/0", "testing/0"], "set/training holds no class folders"),
        # splits in class folders
        (
            ["a/train/0", "a/test/0", "b/train/0"],
            r"set/a holds images in folders below it that look like splits \(test, train\)",
        ),
        (["a/0", "a/val/0"], r"look like splits \(val\)"),
        # one level too high
        (["images/a/0", "images/b/0"], r"look like classes \(a, b\); name the folder .* subfolders = true"),
        (["x/a/0", "x/b/0", "y/a/0", "y/b/0"], r"look like classes \(a, b\)"),
        (["x/a/deep/0", "x/b/0"], r"look like classes \(a, b\)"),
        (["train/images/a/0", "train/images/b/0", "test/images/a/0"], r"train/images holds .* look like classes \(a, b\)"),
        ([f"images/{name}/0" for name in "abcdef"], r"\(a, b, c and 3 more\)"),
    ],
)
def test_what_may_be_read_in_two_ways_is_refused(root: Path, paths: list[str], problem: str) -> None:
    pictures(*(root / f"{path}.png" for path in paths))
    with pytest.raises(GancoreError, match=problem) as raised:
        opened(root).load("train")
    assert len(str(raised.value)) <= 400


def test_folders_in_class_folders_are_of_the_class_where_that_is_said(root: Path) -> None:
    pictures(*(root / path for path in ("x/a/0.png", "x/b/0.png", "y/train/0.png", "y/test/0.png")))
    dataset = opened(root, subfolders=True)
    assert dataset.info.class_names == ("x", "y")
    assert dataset.load("train")[1].tolist() == [0, 0, 1, 1]


def test_one_folder_in_each_class_folder_is_of_the_class(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pictures(root / "n01/images/0.png", root / "n01/images/1.png", root / "n02/images/0.png")
    assert opened(root).load("train")[1].tolist() == [0, 0, 1]
    assert (
        f"Note: images in 2 subfolders of class folders (as {root / 'n01/images'}) are of these classes."
        in capsys.readouterr().err
    )


def test_images_beside_class_folders_are_told(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pictures(root / "a/0.png", root / "b/0.png", root / "loose.png", root / "other.jpg")
    assert opened(root).load("train")[1].tolist() == [0, 1]
    assert f"Note: 2 images in {root} are in no class folder, and are left aside." in capsys.readouterr().err


def test_a_plain_folder_is_read_without_a_word(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pictures(root / "a/0.png", root / "b/0.png")
    opened(root).load("train")
    assert "Note" not in capsys.readouterr().err


def test_links_are_followed_and_end(root: Path, tmp_path: Path) -> None:
    pictures(root / "a/0.png", tmp_path / "elsewhere/1.png", tmp_path / "class/2.png", tmp_path / "file.png")
    (root / "a" / "more").symlink_to(tmp_path / "elsewhere")
    (root / "a" / "back").symlink_to(root / "a")
    (tmp_path / "elsewhere" / "up").symlink_to(tmp_path / "elsewhere")
    (root / "a" / "3.png").symlink_to(tmp_path / "file.png")
    (root / "b").symlink_to(tmp_path / "class")
    images, labels = opened(root).load("train")
    assert labels.tolist() == [0, 0, 0, 1]
    assert images[:, 0, 0, 0].tolist() == [0, 3, 1, 2]


def test_hidden_folders_are_left_aside(root: Path) -> None:
    pictures(root / "a/0.png", root / "a/.thumbnails/0.png", root / ".trash/0.png")
    assert opened(root).load("train")[1].tolist() == [0]


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root reads every folder")
def test_a_closed_folder_is_named(root: Path) -> None:
    pictures(root / "a/0.png", root / "a/closed/1.png")
    (root / "a" / "closed").chmod(0)
    with pytest.raises(GancoreError, match=r"a/closed can't be listed \(Permission denied\)"):
        opened(root).load("train")
    (root / "a" / "closed").chmod(0o700)


def test_without_labels_all_pictures_are_one_class_and_splits_are_splits(root: Path) -> None:
    pictures(root / "0.png", root / "a/1.png", root / "a/b/2.png")
    whole = ImageFolder(path=str(root), image_size=4, test_fraction=0.4, labels=False)
    assert whole.info.class_names == ("all",)
    assert [len(whole.load(split)[0]) for split in ("train", "test")] == [2, 1]
    pictures(root / "Train/x/0.png", root / "Train/1.png", root / "valid/0.png", root / "TEST/0.png", root / "TEST/1.png")
    split = ImageFolder(path=str(root), image_size=4, labels=False)
    assert [len(split.load(each)[0]) for each in ("train", "test")] == [2, 2]
    assert split.load("train")[1].tolist() == [0, 0]


@pytest.mark.parametrize(
    ("paths", "problem"),
    [
        (["test/0.png"], "holds test and no train; put the images to train on in"),
        (["train/0.png", "Training/1.png"], "holds Training, train; leave one of them there"),
        (["train/0.png"], "has train/ but no test/ or val/ folder; add one with more images"),
    ],
)
def test_without_labels_splits_that_lack_something_are_refused(root: Path, paths: list[str], problem: str) -> None:
    pictures(*(root / path for path in paths))
    with pytest.raises(GancoreError, match=problem):
        ImageFolder(path=str(root), image_size=4, labels=False).load("test")

"""LSUN: which records are its images, in memory or read by index, and what is said when something is missing."""

from __future__ import annotations

import copy
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gancore_standard.datasets import LsunClasses
from gancore_standard.datasets.lsun import LsunImages
from PIL import Image

from gancore import GancoreError
from gancore.tools import load_split


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GANCORE_CACHE", str(tmp_path_factory.mktemp("cache")))


def write_lsun(root: Path, name: str, count: int, seed: int) -> list[Any]:
    """Write a database of webp pictures as LSUN's are; return the pictures in the order of their keys."""
    lmdb = pytest.importorskip("lmdb")
    folder = root / "lsun" / f"{name}_lmdb"
    folder.mkdir(parents=True)
    written = []
    with lmdb.open(str(folder), map_size=1 << 22) as database, database.begin(write=True) as writer:
        for i in range(count):
            pixels = np.random.default_rng(seed + i).integers(0, 256, (16, 16, 3), dtype=np.uint8)
            path = root / "one.webp"
            Image.fromarray(pixels).save(path, lossless=True)
            writer.put(f"{i:04}".encode(), path.read_bytes())
            written.append(pixels)
    return written


def test_lsun_takes_the_first_records_of_each_category(tmp_path: Path) -> None:
    kitchen = write_lsun(tmp_path, "kitchen_train", 5, seed=0)
    bedroom = write_lsun(tmp_path, "bedroom_train", 2, seed=50)
    dataset = LsunClasses(root=str(tmp_path), categories=("kitchen", "bedroom"), per_class=3, image_size=16)
    images, labels = dataset.load("train")
    assert labels.tolist() == [0, 0, 0, 1, 1]
    assert np.array_equal(images.permute(0, 2, 3, 1).numpy(), np.stack(kitchen[:3] + bedroom))


def test_lsun_evaluates_on_validation_images_or_on_the_head_of_the_training_set(tmp_path: Path) -> None:
    write_lsun(tmp_path, "kitchen_train", 5, seed=0)
    write_lsun(tmp_path, "kitchen_val", 4, seed=50)

    def size(evaluation: Any) -> int:
        settings: dict[str, Any] = {"root": str(tmp_path), "categories": ("kitchen",), "per_class": 1, "image_size": 8}
        return len(LsunClasses(evaluation=evaluation, **settings).load("test")[0])

    assert size("validation") == 4
    assert size("train_head") == 5


def test_a_missing_lsun_database_is_named(tmp_path: Path) -> None:
    pytest.importorskip("lmdb")
    with pytest.raises(GancoreError, match=r"LSUN's bedroom is not here: .*bedroom_train_lmdb/data\.mdb was not found"):
        LsunClasses(root=str(tmp_path)).load("train")


def test_a_damaged_lsun_database_is_named(tmp_path: Path) -> None:
    write_lsun(tmp_path, "kitchen_train", 1, seed=0)
    (tmp_path / "lsun" / "kitchen_train_lmdb" / "data.mdb").write_bytes(b"nonsense" * 2000)
    with pytest.raises(GancoreError, match=r"kitchen_train_lmdb can't be read"):
        LsunClasses(root=str(tmp_path), categories=("kitchen",)).load("train")


def test_lsun_without_lmdb_says_how_to_install_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "lmdb", None)
    with pytest.raises(GancoreError, match=r'pip install "gancore-plugin-standard\[lsun\]"'):
        LsunClasses(root=str(tmp_path)).load("train")


def test_lsun_is_known_by_its_categories_and_refuses_one_named_twice() -> None:
    assert LsunClasses().info.class_names == ("bedroom", "conference_room", "dining_room", "kitchen", "living_room")
    with pytest.raises(GancoreError, match="each class once"):
        LsunClasses(categories=("kitchen", "kitchen"))


def test_the_cache_of_lsun_is_made_anew_when_its_database_changes(tmp_path: Path) -> None:
    write_lsun(tmp_path, "kitchen_train", 2, seed=0)
    dataset = LsunClasses(root=str(tmp_path), categories=("kitchen",), image_size=8)
    before = dataset.load("train")[0]
    shutil.rmtree(tmp_path / "lsun")
    write_lsun(tmp_path, "kitchen_train", 2, seed=90)
    assert not torch.equal(before, dataset.load("train")[0])


def test_read_by_index_it_is_the_same(tmp_path: Path) -> None:
    for category, number in {"kitchen": 5, "bedroom": 3}.items():
        write_lsun(tmp_path, f"{category}_train", number, seed=number)
        write_lsun(tmp_path, f"{category}_val", 2, seed=50 + number)
    settings: dict[str, Any] = {"root": str(tmp_path), "categories": ("kitchen", "bedroom"), "per_class": 4, "image_size": 8}
    for split, number in {"train": 7, "test": 4}.items():
        held, labels = load_split(LsunClasses(keep="pixels", **settings), split)
        images, own = load_split(LsunClasses(keep="nothing", **settings), split)
        assert isinstance(held, torch.Tensor)
        assert isinstance(images, LsunImages)
        assert len(images) == number
        assert torch.equal(own, labels)
        places = torch.tensor([2, 0, number - 1, 2])
        assert torch.equal(images.read(places), held[places])
        # A copy is made of the very state that is pickled for a worker.
        again = copy.deepcopy(images)
        assert again._databases == {}
        assert torch.equal(again[:], held)
        assert again.fingerprint == images.fingerprint


def test_workers_read_the_records_of_each_draw(tmp_path: Path) -> None:
    write_lsun(tmp_path, "kitchen_train", 6, seed=0)
    dataset = LsunClasses(root=str(tmp_path), categories=("kitchen",), image_size=8, keep="nothing")
    images, _ = dataset.load("train")
    assert isinstance(images, LsunImages)
    read = images.reader(lambda draw: torch.tensor([draw, draw + 1]), torch.device("cpu"), 2)
    try:
        for draw in range(4):
            assert torch.equal(read(draw), images.read(torch.tensor([draw, draw + 1])))
    finally:
        read.close()  # type: ignore[attr-defined]


def test_a_record_that_is_gone_is_told(tmp_path: Path) -> None:
    write_lsun(tmp_path, "kitchen_train", 2, seed=0)
    images, _ = LsunClasses(root=str(tmp_path), categories=("kitchen",), image_size=8, keep="nothing").load("train")
    assert isinstance(images, LsunImages)
    images._text = images._text.replace(b"1", b"7")
    with pytest.raises(GancoreError, match=r"kitchen_train_lmdb has changed while it was read; start again\."):
        images.read(torch.tensor([1]))
    shutil.rmtree(tmp_path / "lsun")
    with pytest.raises(GancoreError, match=r"kitchen_train_lmdb can't be read \(No such file"):
        copy.deepcopy(images).read(torch.tensor([0]))

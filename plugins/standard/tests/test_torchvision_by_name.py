"""Image sets of torchvision by name: what is read, how they are split, and what is refused. Nothing is downloaded."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gancore_standard.datasets import TorchvisionByName
from PIL import Image

from gancore import GancoreError


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("GANCORE_DATA", str(tmp_path))
    return tmp_path / "torchvision"


def characters(root: Path) -> None:
    """Kuzushiji-MNIST in its files: 12 images to train on and 5 to test on, the value of each its place."""
    raw = root / "KMNIST" / "raw"
    raw.mkdir(parents=True)
    for split, number in (("train", 12), ("t10k", 5)):
        pixels = np.repeat(np.arange(number, dtype=np.uint8), 28 * 28).tobytes()
        (raw / f"{split}-images-idx3-ubyte").write_bytes(struct.pack(">IIII", 2051, number, 28, 28) + pixels)
        (raw / f"{split}-labels-idx1-ubyte").write_bytes(
            struct.pack(">II", 2049, number) + bytes(k % 10 for k in range(number))
        )


def land(root: Path) -> None:
    """EuroSAT in its folders: two classes of ten pictures of 8 x 6 pixels."""
    for name, value in (("Forest", 10), ("River", 200)):
        folder = root / "eurosat" / "2750" / name
        folder.mkdir(parents=True)
        for place in range(10):
            Image.new("RGB", (8, 6), (value, place, 0)).save(folder / f"{place}.png")


def test_a_set_with_splits_is_read_as_it_splits(root: Path) -> None:
    characters(root)
    data = TorchvisionByName(name="KMNIST", image_size=16, channels=1)
    assert (data.info.classes, data.info.channels, data.info.image_size) == (10, 1, 16)
    images, labels = data.load("train")
    assert (tuple(images.shape), images.dtype, labels.tolist()) == ((12, 1, 16, 16), torch.uint8, [*range(10), 0, 1])
    assert images[:, 0, 3, 3].tolist() == list(range(12))
    assert len(data.load("test")[0]) == 5


def test_a_set_without_splits_keeps_some_apart(root: Path) -> None:
    land(root)
    data = TorchvisionByName(name="EuroSAT", image_size=6, test_fraction=0.2)
    assert data.info.class_names == ("Forest", "River")
    images, labels = data.load("train")
    assert (tuple(images.shape), labels.bincount().tolist()) == ((16, 3, 6, 6), [8, 8])
    assert images[labels == 1][:, 0].unique().tolist() == [200]
    assert data.load("test")[0][:, 1, 0, 0].tolist() == [4, 9, 4, 9]


def test_further_arguments_are_those_of_torchvision(root: Path) -> None:
    fake = TorchvisionByName(name="FakeData", args={"size": 20, "num_classes": 3}, image_size=8)
    assert fake.load("train")[0].shape == (18, 3, 8, 8)
    assert fake.info.classes == 3
    wrong: list[tuple[dict[str, str | int | bool], str]] = [
        ({"sise": 3}, "has no argument sise; it takes .*size"),
        ({"image_size": "x"}, "can't be read from"),
    ]
    for args, problem in wrong:
        with pytest.raises(GancoreError, match=problem):
            TorchvisionByName(name="FakeData", args=args).load("train")


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"name": "Flower102"}, r"no image set 'Flower102' here \(did you mean 'Flowers102'\?\)"),
        ({"name": "ImageFolder"}, "no image set 'ImageFolder'"),
        ({"name": "KMNIST", "args": {"root": "/etc"}}, "args can't give root of KMNIST"),
        ({"name": "KMNIST", "args": {"train": False}}, "args can't give train of KMNIST"),
        ({"name": "KMNIST", "args": {"download": True}}, "args can't give download of KMNIST"),
        ({"name": "KMNIST", "root": "x", "download": True}, "download fetches into the folder that GANCORE_DATA names"),
    ],
)
def test_what_a_recipe_may_not_ask_for_is_refused_first(settings: dict[str, Any], problem: str) -> None:
    with pytest.raises(GancoreError, match=problem):
        TorchvisionByName(**settings)


def test_a_set_that_is_not_there_is_not_fetched(root: Path) -> None:
    with pytest.raises(GancoreError, match=r"KMNIST can't be read from .*; set GANCORE_DATA, or \[data\] download = true"):
        TorchvisionByName(name="KMNIST").load("train")
    assert not (root / "KMNIST").exists()

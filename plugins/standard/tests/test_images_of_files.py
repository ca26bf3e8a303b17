"""Images as other tools leave them are read as they are, or refused."""

from __future__ import annotations

import pickle
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gancore_standard.datasets import ImageFiles
from gancore_standard.image_files import save_arrays, save_png
from PIL import Image
from torch import Tensor

from gancore import GancoreError
from gancore.tools import load_split, to_uint8


def images(channels: int = 3, number: int = 6, size: int = 8) -> Tensor:
    return torch.rand(number, channels, size, size, generator=torch.Generator().manual_seed(0)) * 2 - 1


def opened(path: Path, **settings: Any) -> ImageFiles:
    return ImageFiles(path=str(path), **{"image_size": 8, **settings})


def refused(path: Path, **settings: Any) -> str:
    with pytest.raises(GancoreError) as error:
        load_split(opened(path, **settings), "test")
    assert len(str(error.value)) <= 400 + 2 * len(str(path))
    return str(error.value)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("labels", [None, torch.tensor([0, 2, 1, 0, 1, 2])])
def test_an_npz_is_read_as_it_was_written(tmp_path: Path, channels: int, labels: Tensor | None) -> None:
    save_arrays(images(channels), tmp_path / "x.npz", labels=labels)
    data = opened(tmp_path / "x.npz", channels=channels)
    read, known = load_split(data, "test")
    assert torch.equal(read, to_uint8(images(channels)))
    assert known.tolist() == (labels.tolist() if labels is not None else [0] * 6)
    assert data.info.class_names == (("0", "1", "2") if labels is not None else ())
    # Gray without a channel, as some tools write it.
    if channels == 1:
        np.savez(tmp_path / "x.npz", to_uint8(images(1))[:, 0].numpy())
        assert torch.equal(load_split(data, "test")[0], to_uint8(images(1)))
    np.savez_compressed(tmp_path / "y.npz", to_uint8(images(channels)).permute(0, 2, 3, 1).numpy())
    assert torch.equal(load_split(opened(tmp_path / "y.npz", channels=channels), "test")[0], to_uint8(images(channels)))


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("by_class", [False, True])
def test_a_folder_of_pictures_is_read_as_it_was_written(tmp_path: Path, channels: int, by_class: bool) -> None:
    for place, image in enumerate(images(channels).split(1)):
        save_png(image, tmp_path / ("ab"[place % 2] if by_class else "") / f"{place}.png", columns=0)
    (tmp_path / "notes.txt").write_text("no picture")
    read, labels = load_split(opened(tmp_path, channels=channels), "test")
    order = [0, 2, 4, 1, 3, 5] if by_class else [*range(6)]
    assert torch.equal(read, to_uint8(images(channels))[order])
    assert labels.tolist() == ([0, 0, 0, 1, 1, 1] if by_class else [0] * 6)
    if by_class:
        assert (
            load_split(opened(tmp_path, channels=channels, class_names=["z", "b", "a"]), "test")[1].tolist()
            == [1] * 3 + [2] * 3
        )
        assert "b is none of the classes (a, z); rename it" in refused(tmp_path, channels=channels, class_names=["a", "z"])


def test_gray_pictures_are_color_and_equal_channels_gray(tmp_path: Path) -> None:
    Image.fromarray(to_uint8(images(1))[0, 0].numpy()).save(tmp_path / "x.png")
    gray, color = (load_split(opened(tmp_path, channels=channels), "test")[0] for channels in (1, 3))
    assert torch.equal(gray, to_uint8(images(1))[:1])
    assert torch.equal(color, gray.expand(-1, 3, -1, -1))


def test_so_many_images_are_taken_evenly(tmp_path: Path) -> None:
    save_arrays(images(number=10), tmp_path / "x.npz", labels=torch.arange(10))
    assert load_split(opened(tmp_path / "x.npz", number=4), "test")[1].tolist() == [0, 2, 5, 7]
    assert len(load_split(opened(tmp_path / "x.npz", number=11), "test")[0]) == 10
    for place, image in enumerate(images(number=10).split(1)):
        save_png(image, tmp_path / "f" / f"{place}.png", columns=0)
    (tmp_path / "f" / "4.png").write_text("damaged, and not taken")
    assert torch.equal(load_split(opened(tmp_path / "f", number=4), "test")[0], to_uint8(images(number=10))[[0, 2, 5, 7]])


def test_other_sizes_and_channels_are_refused_or_resized(tmp_path: Path) -> None:
    save_arrays(images(), tmp_path / "x.npz")
    save_png(images()[:1], tmp_path / "f" / "x.png", columns=0)
    for path in (tmp_path / "x.npz", tmp_path / "f"):
        said = refused(path, image_size=4)
        assert "has 8 x 8 pixels, not 4 x 4; resize it (`resize`, or --resize), or choose a recipe of its size." in said
        assert load_split(opened(path, image_size=4, resize=True), "test")[0].shape[1:] == (3, 4, 4)
        assert "has 3 channels of color, not 1; choose a recipe of as many." in refused(path, channels=1)
    np.savez(tmp_path / "wide.npz", np.zeros((2, 4, 8, 3), np.uint8))
    assert "has 8 x 4 pixels, not 8 x 8" in refused(tmp_path / "wide.npz", resize=True)


@pytest.mark.parametrize(
    ("arrays", "sentence"),
    [
        ({}, "it must hold arr_0, images (N, H, W, C) of uint8"),
        ({"arr_0": np.zeros((2, 8, 8, 3), np.float32)}, "holds arr_0 of shape (2, 8, 8, 3) and type float32; it must be"),
        ({"arr_0": np.zeros((2, 3), np.uint8)}, "holds arr_0 of shape (2, 3) and type uint8; it must be"),
        ({"arr_0": np.zeros((0, 8, 8, 3), np.uint8)}, "holds arr_0 of shape (0, 8, 8, 3)"),
        ({"arr_0": np.zeros((2, 8, 8, 3), np.uint8), "arr_1": np.zeros(3, np.int64)}, "holds arr_1 that is no label for each"),
        ({"arr_0": np.zeros((2, 8, 8, 3), np.uint8), "arr_1": np.array([0, -1])}, "holds arr_1 that is no label for each"),
        ({"arr_0": np.zeros((2, 8, 8, 3), np.uint8), "arr_1": np.zeros(2)}, "holds arr_1 that is no label for each"),
        ({"arr_0": np.array([{"a": 1}], dtype=object)}, "can't be read as an npz of images (ValueError"),
    ],
)
def test_an_npz_of_anything_else_is_refused(tmp_path: Path, arrays: dict[str, Any], sentence: str) -> None:
    np.savez(tmp_path / "x.npz", **arrays)
    assert sentence in refused(tmp_path / "x.npz")


def test_a_label_without_a_class_is_refused(tmp_path: Path) -> None:
    save_arrays(images(), tmp_path / "x.npz", labels=torch.arange(6))
    assert "holds the label 5, of which there is no class: there are 2." in refused(tmp_path / "x.npz", class_names=["a", "b"])


class Hostile:
    def __init__(self, victim: Path) -> None:
        self.victim = victim

    def __reduce__(self) -> Any:
        return (Path.touch, (self.victim,))


def test_code_in_files_is_not_run(tmp_path: Path) -> None:
    (tmp_path / "x.npz").write_bytes(pickle.dumps(Hostile(tmp_path / "victim")))
    assert "can't be read as an npz" in refused(tmp_path / "x.npz")
    np.save(tmp_path / "x.npy", np.array([Hostile(tmp_path / "victim")], dtype=object))
    with zipfile.ZipFile(tmp_path / "y.npz", "w") as archive:
        archive.write(tmp_path / "x.npy", "arr_0.npy")
    assert "can't be read as an npz" in refused(tmp_path / "y.npz")
    assert not (tmp_path / "victim").exists()


def test_what_unpacks_to_far_more_than_its_size_is_not_unpacked(tmp_path: Path) -> None:
    np.savez_compressed(tmp_path / "x.npz", np.zeros((1 << 10, 64, 64, 3), np.uint8))
    assert "(ValueError: it unpacks to 12 MiB)" in refused(tmp_path / "x.npz", image_size=64)


def test_where_nothing_is_a_sentence_says_so(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert "holds no image" in refused(tmp_path / "empty")
    assert "for there is no such file or folder; check the path." in refused(tmp_path / "nowhere")

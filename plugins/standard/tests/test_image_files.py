"""Files of generated images hold what their names say."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from gancore_standard.image_files import save_arrays, save_jpeg, save_png, save_webp
from gancore_standard.pictures import grid
from gancore_training import image_format
from PIL import Image
from torch import Tensor

from gancore import GancoreError
from gancore.tools import registry, to_uint8


def images(*shape: int) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(0)) * 2 - 1


@pytest.mark.parametrize(
    ("suffix", "kind"), [("png", "PNG"), ("jpg", "JPEG"), ("jpeg", "JPEG"), ("JPG", "JPEG"), ("webp", "WEBP"), ("npz", None)]
)
def test_a_file_holds_what_its_name_says(tmp_path: Path, suffix: str, kind: str | None) -> None:
    path = tmp_path / "deep" / f"x.{suffix}"
    image_format(path, registry())(images(5, 3, 8, 8), path, columns=2)
    if kind is None:
        with np.load(path, allow_pickle=False) as arrays:
            assert arrays.files == ["arr_0"]
        return
    with Image.open(path) as picture:
        assert picture.format == kind
        assert picture.size == grid(images(5, 3, 8, 8), 2).size
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("save", [save_png, save_webp])
def test_png_and_webp_lose_nothing(tmp_path: Path, save: object) -> None:
    assert callable(save)
    save(images(5, 3, 8, 8), tmp_path / "x")
    with Image.open(tmp_path / "x") as picture:
        assert np.array_equal(np.asarray(picture.convert("RGB")), np.asarray(grid(images(5, 3, 8, 8))))


def test_jpeg_stays_near(tmp_path: Path) -> None:
    smooth = torch.nn.functional.interpolate(images(4, 3, 3, 3), size=48, mode="bilinear")
    save_jpeg(smooth, tmp_path / "x")
    with Image.open(tmp_path / "x") as picture:
        difference = np.abs(np.asarray(picture).astype(int) - np.asarray(grid(smooth)))
    assert difference.mean() < 3


@pytest.mark.parametrize("channels", [1, 3])
def test_an_npz_holds_all_images_in_the_layout_of_adm(tmp_path: Path, channels: int) -> None:
    labels = torch.tensor([3, 0, 2, 1, 3])
    save_arrays(images(5, channels, 8, 6), tmp_path / "x.npz", labels=labels)
    with np.load(tmp_path / "x.npz", allow_pickle=False) as arrays:
        assert arrays.files == ["arr_0", "arr_1"]
        assert arrays["arr_0"].shape == (5, 8, 6, channels)
        assert arrays["arr_0"].dtype == np.uint8
        assert np.array_equal(arrays["arr_0"].transpose(0, 3, 1, 2), to_uint8(images(5, channels, 8, 6)).numpy())
        assert arrays["arr_1"].dtype == np.int64
        assert arrays["arr_1"].tolist() == labels.tolist()


def test_points_are_not_rounded(tmp_path: Path) -> None:
    points = images(7, 2, 1, 1)
    save_arrays(points, tmp_path / "x.npz")
    with np.load(tmp_path / "x.npz") as arrays:
        assert np.array_equal(arrays["arr_0"], points.flatten(1).numpy())


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_images_that_are_not_finite_are_no_arrays(tmp_path: Path, value: float) -> None:
    broken = images(2, 1, 4, 4)
    broken[1, 0, 2, 2] = value
    with pytest.raises(GancoreError, match=r"x\.npz can't be written: .*not finite"):
        save_arrays(broken, tmp_path / "x.npz")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("save", "kind"), [(save_jpeg, "JPEG"), (save_webp, "WEBP")])
def test_a_grid_beyond_what_a_format_holds_is_refused(tmp_path: Path, save: object, kind: str) -> None:
    assert callable(save)
    # 1366 tiles of 48 pixels, with gutters of 2 around them, are 68302 pixels high.
    with pytest.raises(GancoreError, match=rf"52 x 68302 pixels are too many for {kind}; write a PNG"):
        save(images(1, 1, 8, 8).expand(1366, -1, -1, -1), tmp_path / "x", columns=1)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("shape", [(0, 1, 4, 4), (4, 4), (2, 0, 4, 4)])
def test_what_is_no_batch_of_images_is_refused(tmp_path: Path, shape: tuple[int, ...]) -> None:
    with pytest.raises(GancoreError, match=r"\(N, C, H, W\)"):
        save_arrays(torch.zeros(shape), tmp_path / "x.npz")

"""The image sets of core: what they hold, how they are resized and kept, and what they say when something is missing."""

from __future__ import annotations

import builtins
import os
import pickle
import shutil
import sys
import urllib.error
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import scipy.io
import torch
from gancore_standard.datasets import Cifar10, Cifar100, Digits, FashionMnist, ImageFolder, LsunClasses, Mnist, Svhn
from gancore_standard.datasets.decoding import decode
from gancore_standard.datasets.resizing import resized
from gancore_standard.torchvision_import import torchvision
from PIL import Image
from torch import Tensor

from gancore import GancoreError
from gancore.contract.data import Dataset
from gancore.contract.settings import check, settings_of

FIXED = [Cifar10, Cifar100, Mnist, FashionMnist, Svhn]

Pixels = npt.NDArray[np.uint8]


def noise(seed: int, *shape: int) -> Pixels:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


# -- well-known sets ---------------------------------------------------------------------------------------------------


def write_mnist(folder: Path, images: Pixels, labels: Pixels, prefix: str) -> None:
    """Write MNIST's own file format: a big-endian header, then the bytes."""
    folder.mkdir(parents=True, exist_ok=True)
    header = b"".join(n.to_bytes(4, "big") for n in (0x803, *images.shape))
    (folder / f"{prefix}-images-idx3-ubyte").write_bytes(header + images.tobytes())
    header = b"".join(n.to_bytes(4, "big") for n in (0x801, len(labels)))
    (folder / f"{prefix}-labels-idx1-ubyte").write_bytes(header + labels.tobytes())


@pytest.fixture
def tiny_mnist(tmp_path: Path) -> tuple[Path, Pixels]:
    images = noise(1, 3, 28, 28)
    for prefix in ("train", "t10k"):
        write_mnist(tmp_path / "mnist" / "MNIST" / "raw", images, np.array([4, 0, 9], dtype=np.uint8), prefix)
    return tmp_path, images


@pytest.mark.parametrize(
    ("cls", "expected"),
    [
        (Cifar10, (10, 3, 32)),
        (Cifar100, (100, 3, 32)),
        (Mnist, (10, 1, 28)),
        (FashionMnist, (10, 1, 28)),
        (Svhn, (10, 3, 32)),
        (Digits, (10, 1, 8)),
    ],
)
def test_a_set_is_known_before_its_folder_exists(cls: Any, expected: tuple[int, int, int]) -> None:
    info = cls().info
    assert (info.classes, info.channels, info.image_size) == expected
    assert len(set(info.class_names)) == info.classes
    assert cls(image_size=24).info.image_size == 24


@pytest.mark.parametrize("cls", FIXED)
def test_a_missing_set_says_where_it_was_looked_for_and_what_to_do(
    cls: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GANCORE_DATA", str(tmp_path))
    with pytest.raises(GancoreError) as caught:
        cls().load("train")
    text = str(caught.value)
    assert str(tmp_path / cls.folder / cls.marker) in text
    assert cls.title in text
    assert "set GANCORE_DATA" in text
    assert "download = true" in text


def test_without_gancore_data_the_cache_folder_is_looked_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GANCORE_DATA", raising=False)
    monkeypatch.setenv("GANCORE_CACHE", str(tmp_path))
    with pytest.raises(GancoreError, match=str(tmp_path / "data" / "mnist")):
        Mnist().load("train")


def test_root_takes_the_place_of_gancore_data(
    tiny_mnist: tuple[Path, Pixels], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GANCORE_DATA", str(tmp_path / "elsewhere"))
    assert len(Mnist(root=str(tiny_mnist[0])).load("train")[1]) == 3


def test_mnist_comes_out_as_it_was_written(tiny_mnist: tuple[Path, Pixels]) -> None:
    root, written = tiny_mnist
    images, labels = Mnist(root=str(root)).load("test")
    assert images.dtype == torch.uint8
    assert images.shape == (3, 1, 28, 28)
    assert np.array_equal(images[:, 0].numpy(), written)
    assert labels.dtype == torch.int64
    assert labels.tolist() == [4, 0, 9]


def test_a_damaged_set_names_the_split_the_folder_and_the_cause(tiny_mnist: tuple[Path, Pixels]) -> None:
    file = tiny_mnist[0] / "mnist" / "MNIST" / "raw" / "train-images-idx3-ubyte"
    file.write_bytes(file.read_bytes()[:100])
    with pytest.raises(GancoreError, match=r"train split of MNIST can't be read from .*mnist \(\w+Error.*unpack it again"):
        Mnist(root=str(tiny_mnist[0])).load("train")


def test_a_set_that_lacks_one_split_is_an_error_of_that_split(tiny_mnist: tuple[Path, Pixels]) -> None:
    (tiny_mnist[0] / "mnist" / "MNIST" / "raw" / "t10k-labels-idx1-ubyte").unlink()
    with pytest.raises(GancoreError, match="test split of MNIST can't be read"):
        Mnist(root=str(tiny_mnist[0])).load("test")


def test_a_download_that_fails_is_said_in_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(self: Any) -> None:
        raise urllib.error.URLError("no route to host")

    monkeypatch.setattr(torchvision().datasets.MNIST, "download", offline)
    with pytest.raises(GancoreError, match=r"MNIST can't be downloaded to .*no route to host"):
        Mnist(download=True).load("train")


def test_svhn_has_the_channels_first_and_calls_a_zero_zero(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pixels = noise(2, 32, 32, 3, 4)  # height, width, channel, image, as the file has it
    (tmp_path / "svhn").mkdir()
    scipy.io.savemat(tmp_path / "svhn" / "train_32x32.mat", {"X": pixels, "y": np.array([[1], [10], [9], [2]])})
    monkeypatch.setattr(torchvision().datasets.SVHN, "_check_integrity", lambda _: True)
    images, labels = Svhn(root=str(tmp_path)).load("train")
    assert np.array_equal(images.numpy(), np.moveaxis(pixels, (3, 2), (0, 1)))
    assert labels.tolist() == [1, 0, 9, 2]
    assert labels.dtype == torch.int64


def test_cifar100_uses_the_fine_labels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "cifar100" / "cifar-100-python"
    folder.mkdir(parents=True)
    pixels = noise(3, 2, 3 * 32 * 32)
    names = list(Cifar100().info.class_names)
    (folder / "train").write_bytes(pickle.dumps({"data": pixels, "fine_labels": [99, 3], "coarse_labels": [0, 1]}))
    (folder / "meta").write_bytes(pickle.dumps({"fine_label_names": names}))
    cls = torchvision().datasets.CIFAR100
    monkeypatch.setattr(cls, "_check_integrity", lambda _: True)
    monkeypatch.setattr(cls, "train_list", [["train", None]])
    monkeypatch.setattr(cls, "meta", {**cls.meta, "md5": None})
    images, labels = Cifar100(root=str(tmp_path)).load("train")
    assert np.array_equal(images.numpy(), pixels.reshape(2, 3, 32, 32))
    assert labels.tolist() == [99, 3]
    assert names[99] == "worm"
    assert names[3] == "bear"


@pytest.mark.data
@pytest.mark.parametrize(
    ("cls", "train", "test", "mean"),
    # Sizes as published; means of the training images in [0, 1] as commonly used for normalization.
    [
        (Cifar10, 50_000, 10_000, (0.4914, 0.4822, 0.4465)),
        (Mnist, 60_000, 10_000, (0.1307,)),
        (FashionMnist, 60_000, 10_000, (0.2860,)),
    ],
)
def test_the_real_sets_have_their_published_sizes_and_means(
    cls: Any, train: int, test: int, mean: tuple[float, ...], data_root: Path
) -> None:
    dataset: Dataset = cls(root=str(data_root))
    images, labels = dataset.load("train")
    assert images.shape == (train, dataset.info.channels, dataset.info.image_size, dataset.info.image_size)
    assert set(labels.tolist()) == set(range(10))
    means = [images[:, c].sum(dtype=torch.int64).item() / images[:, c].numel() / 255 for c in range(images.shape[1])]
    assert means == pytest.approx(mean, abs=1e-4)
    assert len(dataset.load("test")[1]) == test


@pytest.mark.parametrize("cls", FIXED)
def test_an_unknown_split_is_refused(cls: Any) -> None:
    with pytest.raises(GancoreError, match=r"not 'tests'.*did you mean 'test'"):
        cls().load("tests")


@pytest.mark.parametrize("cls", [*FIXED, Digits, ImageFolder, LsunClasses])
def test_the_settings_of_every_set_have_types_and_bounds(cls: Any) -> None:
    required = {"path": "x"} if cls is ImageFolder else {}
    assert all(setting.allowed for setting in settings_of(cls).values())
    assert check(cls, {**required, "image_size": 16}, where="test")["image_size"] == 16
    with pytest.raises(GancoreError, match="image_size must be a whole number"):
        check(cls, {**required, "image_size": 0}, where="test")


# -- resizing in memory ------------------------------------------------------------------------------------------------


def test_images_of_the_wanted_size_are_left_alone() -> None:
    images = torch.from_numpy(noise(4, 2, 3, 8, 8))
    assert resized(images, 8) is images


@pytest.mark.parametrize("size", [16, 45])
def test_resizing_agrees_with_pillow_to_one_gray_level(size: int) -> None:
    images = noise(5, 3, 1, 28, 28)
    expected = [np.asarray(Image.fromarray(i[0]).resize((size, size), Image.Resampling.BILINEAR)) for i in images]
    ours = resized(torch.from_numpy(images), size)
    assert ours.dtype == torch.uint8
    assert np.abs(ours[:, 0].numpy().astype(int) - np.stack(expected).astype(int)).max() <= 1


def test_resizing_many_images_treats_each_alike() -> None:
    images = torch.from_numpy(noise(6, 1, 1, 8, 8)).expand(1500, 1, 8, 8)
    small = resized(images, 4)
    assert torch.equal(small, small[:1].expand_as(small))


def test_a_fixed_set_is_resized_on_request(tiny_mnist: tuple[Path, Pixels]) -> None:
    root, written = tiny_mnist
    images, _ = Mnist(root=str(root), image_size=32).load("train")
    assert torch.equal(images, resized(torch.from_numpy(written)[:, None], 32))


# -- digits ------------------------------------------------------------------------------------------------------------


def test_the_digits_are_split_without_overlap_one_in_five_of_each_class() -> None:
    sklearn = pytest.importorskip("sklearn.datasets")
    digits = sklearn.load_digits()
    (train, train_labels), (test, test_labels) = Digits().load("train"), Digits().load("test")
    totals = np.bincount(digits.target)
    assert test_labels.bincount().tolist() == (totals // 5).tolist()
    assert (train_labels.bincount() + test_labels.bincount()).tolist() == totals.tolist()
    together = torch.cat([train, test]).flatten(1).numpy()
    original = np.rint(digits.images.reshape(-1, 64) * 255 / 16)
    # The same images, in another order.
    assert np.array_equal(np.unique(together, axis=0), np.unique(original.astype(np.uint8), axis=0))
    assert together.sum() == original.sum()
    assert together.max() == 255


def test_the_digits_are_the_same_each_time() -> None:
    pytest.importorskip("sklearn")
    first, second = Digits().load("train"), Digits().load("train")
    assert torch.equal(first[0], second[0])
    assert torch.equal(first[1], second[1])


def without(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make a package one that can't be imported."""
    plain = builtins.__import__

    def importing(wanted: str, *arguments: Any, **keywords: Any) -> Any:
        if wanted.split(".")[0] == name:
            raise ModuleNotFoundError(f"No module named {wanted!r}", name=wanted)
        return plain(wanted, *arguments, **keywords)

    for module in [module for module in sys.modules if module.split(".")[0] == name]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setattr(builtins, "__import__", importing)


def test_digits_without_scikit_learn_say_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    without("sklearn", monkeypatch)
    with pytest.raises(GancoreError, match=r'pip install "gancore-plugin-standard\[digits\]"'):
        Digits().load("train")


# -- image folders -----------------------------------------------------------------------------------------------------


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("GANCORE_CACHE", str(folder))
    return folder


def picture(path: Path, seed: int = 0, size: tuple[int, int] = (20, 12)) -> Path:
    """Save a smooth random picture of so many pixels (width, height)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(noise(seed, 4, 4, 3)).resize(size, Image.Resampling.BICUBIC).save(path)
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two classes, of 10 and 20 pictures, and things that are no pictures."""
    root = tmp_path / "pets"
    for i in range(10):
        picture(root / "cat" / f"{i}.png", i)
    for i in range(20):
        picture(root / "dog" / "more" / f"{i:02}.PNG", 100 + i)
    (root / "cat" / "notes.txt").write_text("no picture")
    (root / "cat" / ".hidden.png").write_text("no picture")
    (root / ".git").mkdir()
    (root / "readme.md").write_text("no class")
    return root


@pytest.fixture
def decodings(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the pictures that are decoded from here on."""
    seen: list[str] = []
    plain: Callable[..., Pixels] = decode

    def watched(*arguments: Any, name: str, **keywords: Any) -> Pixels:
        seen.append(name)
        return plain(*arguments, name=name, **keywords)

    monkeypatch.setattr("gancore_standard.datasets.folder_images.decode", watched)
    return seen


def test_a_folder_is_known_by_the_names_of_its_subfolders(folder: Path, decodings: list[str]) -> None:
    info = ImageFolder(path=str(folder)).info
    assert (info.classes, info.channels, info.image_size) == (2, 3, 64)
    assert info.class_names == ("cat", "dog")
    assert decodings == []


def test_a_folder_without_splits_gives_its_fraction_of_each_class_to_the_test(folder: Path) -> None:
    dataset = ImageFolder(path=str(folder), image_size=8, test_fraction=0.2)
    (train, train_labels), (test, test_labels) = dataset.load("train"), dataset.load("test")
    assert train_labels.bincount().tolist() == [8, 16]
    assert test_labels.bincount().tolist() == [2, 4]
    assert len(np.unique(torch.cat([train, test]).flatten(1).numpy(), axis=0)) == 30


def test_pictures_come_out_as_torchvisions_resize_and_center_crop_make_them(tmp_path: Path) -> None:
    transforms = torchvision().transforms
    sizes = [(20, 12), (12, 20), (33, 57), (8, 8), (5, 7), (21, 16)]
    for i, size in enumerate(sizes):
        picture(tmp_path / "set" / "all" / f"{i}.png", i, size)
    images, _ = ImageFolder(path=str(tmp_path / "set"), image_size=8, test_fraction=0).load("train")
    shape = transforms.Compose([transforms.Resize(8), transforms.CenterCrop(8), transforms.PILToTensor()])
    for i in range(len(sizes)):
        with Image.open(tmp_path / "set" / "all" / f"{i}.png") as image:
            assert torch.equal(images[i], shape(image)), sizes[i]


def test_a_folder_is_decoded_once(folder: Path, decodings: list[str], own_cache: Path) -> None:
    first, labels = ImageFolder(path=str(folder), image_size=8, test_fraction=0).load("train")
    assert len(decodings) == 30
    second, _ = ImageFolder(path=str(folder), image_size=8, test_fraction=0).load("train")
    assert len(decodings) == 30
    assert torch.equal(first, second)
    assert labels.tolist() == [0] * 10 + [1] * 20
    assert [file.suffix for file in (own_cache / "images").iterdir()] == [".npy"]


@pytest.mark.parametrize("settings", [{"image_size": 9}, {"channels": 1}])
def test_other_settings_make_another_cache(folder: Path, decodings: list[str], settings: dict[str, Any]) -> None:
    ImageFolder(path=str(folder), image_size=8, test_fraction=0).load("train")
    images, _ = ImageFolder(**{"path": str(folder), "image_size": 8, "test_fraction": 0, **settings}).load("train")
    assert len(decodings) == 60
    assert images.shape[1:] == ((3, 9, 9) if "image_size" in settings else (1, 8, 8))


def test_a_changed_picture_makes_the_cache_anew(folder: Path) -> None:
    before, _ = ImageFolder(path=str(folder), image_size=8).load("train")
    file = picture(folder / "cat" / "0.png", seed=77)
    os.utime(file, ns=(1, 1))
    after, _ = ImageFolder(path=str(folder), image_size=8).load("train")
    assert not torch.equal(before[0], after[0])
    assert torch.equal(before[1:], after[1:])


def test_a_removed_picture_makes_the_cache_anew(folder: Path) -> None:
    (folder / "cat" / "3.png").unlink()
    assert len(ImageFolder(path=str(folder), image_size=8, test_fraction=0).load("train")[0]) == 29


@pytest.mark.parametrize("damage", [lambda b: b[:200], lambda _: b"", lambda b: b"nonsense" + b[8:]])
def test_a_damaged_cache_is_made_anew(
    folder: Path, decodings: list[str], own_cache: Path, damage: Callable[[bytes], bytes]
) -> None:
    first = ImageFolder(path=str(folder), image_size=8, test_fraction=0).load("train")[0].clone()
    (file,) = (own_cache / "images").iterdir()
    file.write_bytes(damage(file.read_bytes()))
    assert torch.equal(ImageFolder(path=str(folder), image_size=8, test_fraction=0).load("train")[0], first)
    assert len(decodings) == 60


def test_writing_into_the_images_leaves_the_cache_as_it_is(folder: Path) -> None:
    first, _ = ImageFolder(path=str(folder), image_size=8).load("train")
    before = first.clone()
    first.zero_()
    assert torch.equal(ImageFolder(path=str(folder), image_size=8).load("train")[0], before)


@pytest.mark.parametrize("cls", [ImageFolder, LsunClasses])
def test_no_recipe_says_where_prepared_images_are_written(cls: type[Dataset]) -> None:
    assert "cache" not in settings_of(cls)


def test_no_recipe_says_where_downloads_are_written(tmp_path: Path) -> None:
    with pytest.raises(GancoreError, match="GANCORE_DATA and leave root out"):
        Mnist(root=str(tmp_path), download=True)


def test_an_unreadable_picture_is_named_and_leaves_no_half_cache(folder: Path, own_cache: Path) -> None:
    file = folder / "dog" / "more" / "07.PNG"
    file.write_bytes(file.read_bytes()[:60])
    with pytest.raises(GancoreError, match=r"dog/more/07\.PNG can't be read.*remove or replace the file"):
        ImageFolder(path=str(folder), image_size=8).load("train")
    assert list((own_cache / "images").iterdir()) == []


def test_a_link_to_nowhere_is_named(folder: Path) -> None:
    (folder / "cat" / "a.png").symlink_to(folder / "gone.png")
    with pytest.raises(GancoreError, match=r"cat/a\.png can't be read \(No such file"):
        ImageFolder(path=str(folder), image_size=8).load("train")


def test_the_home_of_no_user_is_said_in_a_sentence() -> None:
    with pytest.raises(GancoreError, match=r"~nobody-of-this-name/x.*no such user"):
        _ = ImageFolder(path="~nobody-of-this-name/x").info


def test_a_cache_of_no_user_is_said_in_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GANCORE_DATA", raising=False)
    monkeypatch.setenv("GANCORE_CACHE", "~nobody-of-this-name")
    with pytest.raises(GancoreError, match=r"~nobody-of-this-name.*no such user"):
        Mnist().load("train")


def test_a_cache_that_cannot_be_written_is_said_in_a_sentence(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("GANCORE_CACHE", str(tmp_path / "file"))
    with pytest.raises(GancoreError, match=r"can't be written: .*GANCORE_CACHE"):
        ImageFolder(path=str(folder), image_size=8).load("train")


def test_the_splits_of_a_folder_are_its_own(tmp_path: Path) -> None:
    root = tmp_path / "set"
    for i, name in enumerate(["train/a/0", "train/b/0", "train/b/1", "test/b/0"]):
        picture(root / f"{name}.png", i)
    dataset = ImageFolder(path=str(root), image_size=4)
    assert dataset.info.class_names == ("a", "b")
    assert dataset.load("train")[1].tolist() == [0, 1, 1]
    assert dataset.load("test")[1].tolist() == [1]


def test_val_may_stand_for_test(tmp_path: Path) -> None:
    for name in ("train/a/0", "val/a/0", "val/a/1"):
        picture(tmp_path / "set" / f"{name}.png")
    assert len(ImageFolder(path=str(tmp_path / "set"), image_size=4).load("test")[0]) == 2


def test_a_class_called_train_is_a_class(tmp_path: Path) -> None:
    for name in ("train/0", "car/0"):
        picture(tmp_path / "set" / f"{name}.png")
    dataset = ImageFolder(path=str(tmp_path / "set"), image_size=4)
    assert dataset.info.class_names == ("car", "train")
    assert dataset.load("train")[1].tolist() == [0, 1]


@pytest.mark.parametrize(
    ("files", "folders", "split", "message"),
    [
        ([], None, "train", r"image folder .*set was not found"),
        ([], ["."], "train", r"set holds no class folders.*labels = false"),
        (["0"], [], "train", r"set holds no class folders.*labels = false"),
        (["train/0", "test/0"], [], "train", r"set/train holds no class folders.*labels = false"),
        (["a/0"], ["b"], "train", r"class folder .*set/b holds no image"),
        (["train/a/0"], [], "test", r"has train/ but no test/ or val/"),
        (["train/cats/0", "test/cat/0"], [], "test", r"test/cat is a class without training images.*did you mean 'cats'"),
        (["train/a/0", "test/0"], [], "test", r"set/test holds no class folders"),
        (["train/a/0", "test/a/0"], ["test/a/x", "train/b"], "train", r"train/b holds no image"),
        (["a/0"], [], "test", r"no image to test on with test_fraction = 0\.1"),
    ],
)
def test_a_folder_of_another_shape_is_explained(
    tmp_path: Path, files: list[str], folders: list[str] | None, split: str, message: str
) -> None:
    root = tmp_path / "set"
    for file in files:
        picture(root / f"{file}.png")
    for name in folders or []:
        (root / name).mkdir(parents=True, exist_ok=True)
    with pytest.raises(GancoreError, match=message):
        ImageFolder(path=str(root), image_size=4).load(split)


def one_picture(path: Path, **settings: Any) -> Tensor:
    return ImageFolder(path=str(path.parent.parent), test_fraction=0, **settings).load("train")[0][0]


SIXTEEN_BITS = np.array([[0, 0x8000], [0xFFFF, 0x4000]], dtype=np.uint16)


@pytest.mark.parametrize("suffix", ["png", "tiff", "pgm"])
def test_sixteen_bit_gray_keeps_its_range(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / "set" / "a" / f"0.{suffix}"
    path.parent.mkdir(parents=True)
    if suffix == "pgm":
        path.write_bytes(b"P5 2 2 65535\n" + SIXTEEN_BITS.astype(">u2").tobytes())
    else:
        Image.fromarray(SIXTEEN_BITS).save(path)
    assert one_picture(path, image_size=2, channels=1).tolist() == [[[0, 128], [255, 64]]]
    assert one_picture(path, image_size=2, channels=3).tolist() == [[[0, 128], [255, 64]]] * 3


@pytest.mark.parametrize("dtype", [np.int32, np.float32])
def test_pixels_that_state_no_white_are_refused_and_not_clipped(dtype: type[np.generic], tmp_path: Path) -> None:
    path = tmp_path / "set" / "a" / "0.tiff"
    path.parent.mkdir(parents=True)
    Image.fromarray(SIXTEEN_BITS.astype(dtype)).save(path)
    with pytest.raises(GancoreError, match=r"0\.tiff can't be read .*32 bits and state no white; store them with 8 or 16"):
        one_picture(path, image_size=2)


def test_a_palette_with_transparency_keeps_its_colors(tmp_path: Path) -> None:
    path = tmp_path / "set" / "a" / "0.png"
    path.parent.mkdir(parents=True)
    image = Image.new("P", (2, 2), 1)
    image.putpalette([0, 0, 0, 10, 20, 30])
    image.save(path, transparency=bytes([0, 255]))
    assert one_picture(path, image_size=2)[:, 0, 0].tolist() == [10, 20, 30]


def test_a_turned_photograph_is_set_upright(tmp_path: Path) -> None:
    path = tmp_path / "set" / "a" / "0.png"
    path.parent.mkdir(parents=True)
    exif = Image.Exif()
    exif[0x0112] = 3  # turned by 180 degrees
    Image.fromarray(np.array([[0, 50], [100, 200]], dtype=np.uint8)).save(path, exif=exif)
    assert one_picture(path, image_size=2, channels=1).tolist() == [[[200, 100], [50, 0]]]


def test_a_relative_path_counts_from_the_working_folder(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder.parent)
    assert ImageFolder(path="pets", image_size=4).load("test")[1].tolist() == [0, 1, 1]


# -- files that are no files, and sizes that nothing holds -------------------------------------------------------------


@pytest.mark.parametrize("what", ["pipe", "device", "huge"])
def test_files_of_a_set_that_never_end_are_refused_unread(tiny_mnist: tuple[Path, Pixels], what: str) -> None:
    file = tiny_mnist[0] / "mnist" / "MNIST" / "raw" / "train-images-idx3-ubyte"
    file.unlink()
    if what == "pipe":
        os.mkfifo(file)
    elif what == "device":
        file.symlink_to("/dev/zero")
    else:
        with file.open("wb") as opened:
            opened.truncate(1 << 40)
    message = "more than 4.0" if what == "huge" else "no ordinary file"
    with pytest.raises(GancoreError, match=f"train-images-idx3-ubyte .*{message}"):
        Mnist(root=str(tiny_mnist[0])).load("train")


def test_resizing_beyond_the_memory_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(GancoreError, match=r"1000000 images of 4096 pixels a side take 46875 GiB of memory.*lower image_size"):
        resized(torch.zeros((), dtype=torch.uint8).expand(1_000_000, 3, 8, 8), 4096)


def test_a_cache_beyond_the_free_space_is_refused_before_it_is_filled(
    folder: Path, own_cache: Path, monkeypatch: pytest.MonkeyPatch, decodings: list[str]
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=1000))
    with pytest.raises(GancoreError, match=r"27 images of 8 pixels a side take 0\.0 GiB.*GANCORE_CACHE.*lower image_size"):
        ImageFolder(path=str(folder), image_size=8).load("train")
    assert decodings == []
    assert list((own_cache / "images").iterdir()) == []


@pytest.mark.parametrize("place", [-40, 200, -1])
def test_one_changed_bit_of_prepared_images_is_noticed(folder: Path, own_cache: Path, place: int) -> None:
    first = ImageFolder(path=str(folder), image_size=8).load("train")[0].clone()
    (file,) = (own_cache / "images").iterdir()
    content = bytearray(file.read_bytes())
    content[place] ^= 1
    file.write_bytes(content)
    assert torch.equal(ImageFolder(path=str(folder), image_size=8).load("train")[0], first)
    assert file.read_bytes() != content

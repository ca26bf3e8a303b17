"""A set of the Hub is read as a folder of the same files is, by index and offline; what is wrong is one sentence.

What reads is tried twice: on ``datasets`` itself where it is installed, with sets that it has saved or a folder that it reads,
and everywhere on a small stand-in for the part of its interface that the plugin uses, in which a set is a list in memory.
"""

from __future__ import annotations

import copy
import importlib.util
import pickle
import sys
import types
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import pytest
import torch
from gancore_hub.dataset import HubDataset, HubImages
from gancore_standard.datasets import ImageFolder
from PIL import Image

from gancore import GancoreError
from gancore.tools import load_split

NAMES = ("cat", "dog")
Row = dict[str, Any]


# -- a stand-in for `datasets` -----------------------------------------------------------------------------------------


@attrs.frozen
class StandInImage:
    decode: bool = True


@attrs.frozen
class StandInClasses:
    names: list[str]


@attrs.frozen
class StandInRows:
    """Of `datasets.Dataset` what the plugin asks for; it refuses to give a picture that it would have to decode."""

    features: dict[str, Any]
    rows: list[Row]
    cache_files: tuple[Row, ...] = ()

    def __len__(self) -> int:
        return len(self.rows)

    def select_columns(self, names: list[str]) -> StandInRows:
        rows = [{name: row[name] for name in names} for row in self.rows]
        return attrs.evolve(self, features={name: self.features[name] for name in names}, rows=rows)

    def cast_column(self, name: str, feature: Any) -> StandInRows:
        return attrs.evolve(self, features={**self.features, name: feature})

    def __getitem__(self, place: int | slice) -> Any:
        assert not any(isinstance(feature, StandInImage) and feature.decode for feature in self.features.values())
        if isinstance(place, slice):
            return {name: [row[name] for row in self.rows[place]] for name in self.features}
        return self.rows[place]


class StandIn(types.ModuleType):
    """Of the module `datasets` what the plugin asks for; it notes what it was asked, and whether the network was shut off."""

    __version__ = "4.0.0"
    Image, ClassLabel = StandInImage, StandInClasses

    def __init__(self, splits: dict[str, StandInRows]) -> None:
        super().__init__("datasets")
        self.splits, self.asked, self.config = splits, list[tuple[Any, ...]](), types.SimpleNamespace(HF_HUB_OFFLINE=False)

    def load_dataset(
        self, name: str, config: str | None, *, split: str, revision: str | None, keep_in_memory: bool
    ) -> StandInRows:
        offline = self.config.HF_HUB_OFFLINE, sys.modules["huggingface_hub.constants"].HF_HUB_OFFLINE  # type: ignore[attr-defined]
        self.asked.append((name, config, revision, split, *offline))
        if split not in self.splits:
            raise ValueError(f'Unknown split "{split}". Should be one of {list(self.splits)}.\nMore lines')
        return self.splits[split]


def rows_of(folder: Path) -> StandInRows:
    """The files of class folders as rows of a set."""
    rows = [
        {"picture": {"bytes": path.read_bytes(), "path": path.name}, "kind": NAMES.index(path.parent.name), "id": at}
        for at, path in enumerate(sorted(folder.glob("*/*")))
    ]
    return StandInRows({"picture": StandInImage(), "kind": StandInClasses(list(NAMES)), "id": int}, rows)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Class folders with pictures of all kinds: color, gray, transparent, with a palette, and of 16 bits."""
    root, pixels = tmp_path_factory.mktemp("pictures"), np.random.default_rng(0)
    for at in range(20):
        folder = root / ("train" if at < 12 else "test") / NAMES[at % 2]
        folder.mkdir(parents=True, exist_ok=True)
        color = Image.fromarray(pixels.integers(0, 256, (9 + at % 4, 14, 3), dtype=np.uint8))
        kinds = [
            color,
            color.convert("L"),
            Image.fromarray(pixels.integers(0, 256, (9, 9, 4), dtype=np.uint8), "RGBA"),
            color.convert("P"),
            Image.fromarray(pixels.integers(0, 65536, (11, 9), dtype=np.uint16)),
        ]
        kinds[at % 5].save(folder / f"{at:02}.png")
    return root


@pytest.fixture
def standin(pictures: Path, monkeypatch: pytest.MonkeyPatch) -> StandIn:
    module = StandIn({split: rows_of(pictures / split) for split in ("train", "test")})
    monkeypatch.setitem(sys.modules, "datasets", module)
    monkeypatch.setitem(sys.modules, "huggingface_hub", types.ModuleType("huggingface_hub"))
    constants = types.ModuleType("huggingface_hub.constants")
    constants.HF_HUB_OFFLINE = False  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "huggingface_hub.constants", constants)
    return module


def refused(**settings: Any) -> str:
    """The one sentence with which a set is refused."""
    with pytest.raises(GancoreError) as caught:
        load_split(HubDataset(**{"name": "someone/pets", "image_size": 8, **settings}), "train")
    text = str(caught.value)
    assert len(text) <= 400
    assert "\n" not in text
    return text


def same_as_folder(dataset: HubDataset, folder: Path, channels: Any) -> None:
    """Ask that a set of the pictures of `folder`, in the order of their paths, gives the images and labels of that folder."""
    reference = ImageFolder(path=str(folder), image_size=8, channels=channels)
    assert dataset.info == reference.info
    for split in ("train", "test"):
        (images, labels), (others, classes) = load_split(dataset, split), load_split(reference, split)
        assert torch.equal(images[:], others[:])
        assert torch.equal(labels, classes)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("keep", ["pixels", "nothing"])
def test_images_are_those_of_a_folder(standin: StandIn, pictures: Path, keep: Any, channels: Any) -> None:
    dataset = HubDataset(name="someone/pets", image_size=8, channels=channels, keep=keep)
    same_as_folder(dataset, pictures, channels)
    assert isinstance(dataset.load("train")[0], torch.Tensor if keep == "pixels" else HubImages)


@pytest.mark.parametrize("download", [False, True])
def test_the_network_is_asked_only_where_the_settings_say_so(standin: StandIn, download: bool) -> None:
    HubDataset(name="someone/pets", config="small", revision="v1", image_size=8, download=download).load("train")
    assert standin.asked == [("someone/pets", "small", "v1", "train", not download, not download)]
    assert standin.config.HF_HUB_OFFLINE is False
    assert sys.modules["huggingface_hub.constants"].HF_HUB_OFFLINE is False  # type: ignore[attr-defined]


def test_a_split_that_is_not_there_is_refused(standin: StandIn) -> None:
    text = refused(train="training")
    assert 'Unknown split "training". Should be one of [' in text
    assert "set [data] download = true" in text
    assert "log in by" in refused(train="training", download=True)
    assert standin.config.HF_HUB_OFFLINE is False


def test_a_column_is_found_by_its_type_or_named(standin: StandIn) -> None:
    train = standin.splits["train"]
    two = [{**row, "breed": 0} for row in train.rows]
    features = {**train.features, "breed": StandInClasses(["tabby"])}
    standin.splits["train"] = standin.splits["test"] = attrs.evolve(train, features=features, rows=two)
    assert "2 columns of type ClassLabel" in refused()
    assert HubDataset(name="someone/pets", label="breed").info.class_names == ("tabby",)
    assert HubDataset(name="someone/pets", label="kind").info.class_names == NAMES


def test_a_column_that_is_missing_or_of_another_type_is_refused(standin: StandIn) -> None:
    assert "no column 'photo' (of that type: picture; all: id, kind, picture); set [data] image." in refused(image="photo")
    assert "a column 'kind' of type StandInClasses, not Image" in refused(image="kind")
    assert "a column 'picture' of type StandInImage, not ClassLabel" in refused(label="picture")
    train = standin.splits["train"]
    standin.splits["train"] = attrs.evolve(train, features={"picture": StandInImage(), "kind": int})
    assert "no columns of type ClassLabel" in refused()
    images, labels = load_split(HubDataset(name="someone/pets", image_size=8, labels=False), "train")
    assert labels.tolist() == [0] * len(images)


def test_rows_without_a_picture_or_a_class_are_refused(standin: StandIn) -> None:
    rows = standin.splits["train"].rows
    before = rows[3]
    rows[3] = {**before, "kind": None}
    assert "Row 3 of the train split" in refused()
    rows[3] = {**before, "kind": -1}
    assert "has a label of -1" in refused()
    for nothing in (None, {"bytes": None, "path": None}):
        rows[3] = {**before, "picture": nothing}
        assert "Row 3 of the train split of someone/pets has no picture" in refused()
    rows[3] = {**before, "picture": {"bytes": b"no picture", "path": None}}
    assert "The image 3 of the train split of someone/pets can't be read" in refused()


def test_splits_of_different_classes_are_refused(standin: StandIn) -> None:
    test = standin.splits["test"]
    standin.splits["test"] = attrs.evolve(test, features={**test.features, "kind": StandInClasses(["dog", "cat"])})
    with pytest.raises(GancoreError, match="have different classes"):
        HubDataset(name="someone/pets", image_size=8).load("test")


def test_a_missing_library_is_named_with_what_installs_it(standin: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(standin, "__version__", "3.6.0", raising=False)
    assert "of version 3.6.0, not 4 or later" in refused()
    monkeypatch.setitem(sys.modules, "datasets", None)
    assert 'pip install "gancore-plugin-hub[datasets]"' in refused()


# -- `datasets` itself -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """The library, with its cache in a folder of its own."""
    if importlib.util.find_spec("datasets") is None:
        pytest.skip('these read by datasets itself: pip install "gancore-plugin-hub[datasets]"')
    with warnings.catch_warnings(), pytest.MonkeyPatch.context() as patch:
        warnings.simplefilter("ignore")
        datasets: Any = importlib.import_module("datasets")
        patch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path_factory.mktemp("cache")))
        datasets.disable_progress_bars()
        yield datasets


def real_rows(datasets: Any, folder: Path) -> Any:
    rows = rows_of(folder).rows
    features = datasets.Features(
        {"picture": datasets.Image(), "kind": datasets.ClassLabel(names=list(NAMES)), "id": datasets.Value("int64")}
    )
    return datasets.Dataset.from_dict({name: [row[name] for row in rows] for name in features}, features=features)


@pytest.fixture(scope="module")
def saved(real: Any, pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("saved") / "pets"
    real.DatasetDict({split: real_rows(real, pictures / split) for split in ("train", "test")}).save_to_disk(str(folder))
    return folder


@pytest.mark.parametrize("channels", [1, 3])
def test_a_saved_set_is_read_as_the_folder_of_its_files(saved: Path, pictures: Path, channels: Any) -> None:
    same_as_folder(HubDataset(name=str(saved), image_size=8, channels=channels), pictures, channels)


def test_a_local_folder_of_pictures_is_read_by_datasets(real: Any, pictures: Path) -> None:
    same_as_folder(HubDataset(name=str(pictures), image_size=8, keep="nothing"), pictures, 3)
    first = HubDataset(name=str(pictures), image_size=8, train="train[:50%]", test="train[50%:]")
    assert [len(first.load(split)[1]) for split in ("train", "test")] == [6, 6]


def test_parquet_files_are_read_by_datasets(real: Any, pictures: Path, tmp_path: Path) -> None:
    for split in ("train", "test"):
        real_rows(real, pictures / split).to_parquet(str(tmp_path / f"{split}.parquet"))
    same_as_folder(HubDataset(name=str(tmp_path), image_size=8), pictures, 3)


def test_images_are_pickled_by_the_files_that_hold_them(real: Any, tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (4, 200, 200, 3), dtype=np.uint8)
    features = real.Features({"image": real.Image(), "label": real.ClassLabel(names=list(NAMES))})
    table = {"image": [Image.fromarray(pixels) for pixels in noise], "label": [0, 1, 0, 1]}
    real.Dataset.from_dict(table, features=features).save_to_disk(str(tmp_path / "noise"))
    images, _ = HubDataset(name=str(tmp_path / "noise"), image_size=8, keep="nothing").load("train")
    assert isinstance(images, HubImages)
    assert len(pickle.dumps(images)) < 20_000 < noise.nbytes / 10
    # A copy is made of the very state that is pickled; that workers read what they are sent is the next test's.
    again, places = copy.deepcopy(images), torch.tensor([3, 0, 3])
    assert torch.equal(again.read(places), images.read(places))
    assert again.fingerprint == images.fingerprint


def test_workers_read_the_images_of_each_draw(saved: Path) -> None:
    images, _ = HubDataset(name=str(saved), image_size=8, keep="nothing").load("train")
    assert isinstance(images, HubImages)
    read = images.reader(lambda draw: torch.tensor([draw, draw + 1]), torch.device("cpu"), 1)
    try:
        for draw in range(3):
            assert torch.equal(read(draw), images.read(torch.tensor([draw, draw + 1])))
    finally:
        read.close()  # type: ignore[attr-defined]


def test_a_set_that_is_not_here_is_refused_offline(real: Any, saved: Path, tmp_path: Path) -> None:
    assert "set [data] download = true" in refused(name="someone/pets-that-nobody-has")
    assert "set [data] download = true" in refused(name=str(tmp_path))
    assert "it has no split 'training', but 'train', 'test'" in refused(name=str(saved), train="training")


@pytest.mark.parametrize("card", ["README.md", ".huggingface.yaml"])
def test_a_folder_whose_files_lie_elsewhere_is_refused_offline(real: Any, tmp_path: Path, card: str) -> None:
    # Nothing listens there; a request would fail in other words.
    stated = "configs:\n- config_name: default\n  data_files:\n  - split: train\n    path: http://127.0.0.1:9/pets.parquet\n"
    (tmp_path / card).write_text(f"---\n{stated}---\n" if card == "README.md" else stated)
    assert "its card names files on the network" in refused(name=str(tmp_path))


def test_a_card_that_names_no_files_elsewhere_is_read(real: Any, pictures: Path, tmp_path: Path) -> None:
    real_rows(real, pictures / "train").to_parquet(str(tmp_path / "pets.parquet"))
    stated = "license_link: https://example.org\nconfigs:\n- config_name: default\n  data_files: pets.parquet\n"
    (tmp_path / "README.md").write_text(f"---\n{stated}---\nSee https://example.org.\n")
    assert HubDataset(name=str(tmp_path), image_size=8).info.class_names == NAMES

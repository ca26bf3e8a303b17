"""The proxy set: the same images from both formats, whole cycles only, counts that agree with NumPy, and its errors."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gancore_training import checkpoint
from gancore_uap.cycles import sample_cycles
from gancore_uap.plots import _LINES, classes_picture
from gancore_uap.proxy import ProxySet
from gancore_uap.proxy_files import ProxySummary, Writer
from PIL import Image
from torch import Tensor

from gancore import GancoreError
from gancore.tools import to_uint8, to_unit
from tests.compose.hosts import run_of, steps

CLASSES = 5


def cycle(seed: int, number: int = 7, channels: int = 3) -> tuple[Tensor, Tensor]:
    noise = torch.Generator().manual_seed(seed)
    images = torch.randint(0, 256, (number, channels, 4, 4), generator=noise, dtype=torch.uint8)
    return images, torch.randint(0, CLASSES - 1, (number,), generator=noise)


def writer(folder: Path, form: Any = "safetensors", channels: int = 3) -> Writer:
    return Writer(folder, form=form, channels=channels, image_size=4, classes=CLASSES, about={"recipe": "test"})


@pytest.fixture(params=["safetensors", "png"])
def form(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.mark.parametrize("channels", [1, 3])
def test_images_come_back_bit_for_bit(tmp_path, form, channels):
    cycles = {20: cycle(0, channels=channels), 40: cycle(1, channels=channels)}
    out = writer(tmp_path, form, channels)
    for number, (images, labels) in cycles.items():
        out.add(number, images, labels)
    summary = out.finish([20, 40])
    dataset = ProxySet(path=str(tmp_path))
    images, labels = dataset.load("train")
    assert torch.equal(images, torch.cat([cycles[20][0], cycles[40][0]]))
    assert torch.equal(labels, torch.cat([cycles[20][1], cycles[40][1]]))
    assert torch.equal(dataset.load("test")[0], images)
    assert (dataset.info.classes, dataset.info.channels, dataset.info.image_size) == (CLASSES, channels, 4)
    assert ProxySummary.read(tmp_path) == summary
    assert summary.images == 14


def test_classes_are_counted_as_numpy_counts_them(tmp_path):
    cycles = {k: cycle(k, number=3) for k in range(1, 6)}
    out = writer(tmp_path)
    for k, (images, labels) in cycles.items():
        out.add(k, images, labels)
    summary = out.finish(list(cycles))
    labels = [of.numpy() for _, of in cycles.values()]
    assert summary.distinct == [len(np.unique(of)) for of in labels]
    assert summary.distinct_so_far == [len(np.unique(np.concatenate(labels[: k + 1]))) for k in range(5)]
    assert summary.counts == [np.bincount(of, minlength=CLASSES).tolist() for of in labels]


def test_a_writer_goes_on_where_another_stopped(tmp_path, form):
    first = writer(tmp_path, form)
    first.add(1, *cycle(1))
    second = writer(tmp_path, form)
    assert second.has(1)
    assert not second.has(2)
    second.add(2, *cycle(2))
    summary = second.finish([1, 2])
    assert summary.counts == [torch.bincount(cycle(k)[1], minlength=CLASSES).tolist() for k in (1, 2)]


def test_another_set_is_not_gone_on_with(tmp_path, form):
    writer(tmp_path, form).add(1, *cycle(1))
    keys: dict[str, Any] = {"form": form, "channels": 3, "image_size": 4, "classes": CLASSES, "about": {"recipe": "test"}}
    for key, other in {"channels": 1, "image_size": 8, "classes": 9, "about": {"recipe": "test", "seed": 1}}.items():
        with pytest.raises(GancoreError, match=f"holds another proxy set \\({key} is"):
            Writer(tmp_path, **{**keys, key: other})
    # Tuples come back from JSON as lists.
    first = Writer(tmp_path / "new", **{**keys, "about": {"sampled": (1, 2)}})
    first.add(1, *cycle(1))
    assert Writer(tmp_path / "new", **{**keys, "about": {"sampled": (1, 2)}}).has(1)


def test_cycles_of_nobody_knows_what_are_written_again(tmp_path, form):
    writer(tmp_path, form).add(1, *cycle(1))
    (tmp_path / "settings.json").unlink()
    again = writer(tmp_path, form)
    assert not again.has(1)
    again.add(1, *cycle(2))
    again.finish([1])
    assert torch.equal(ProxySet(path=str(tmp_path)).load("train")[0], cycle(2)[0])


def test_a_damaged_cycle_is_written_again_and_what_a_killed_run_left_is_removed(tmp_path, form):
    writer(tmp_path, form).add(1, *cycle(1))
    path = next(tmp_path.glob("cycle-*"))
    (next(path.iterdir()) if path.is_dir() else path).write_bytes(b"nothing")
    (tmp_path / ".cycle-00000002.part").mkdir()
    (tmp_path / ".cycle-00000003.safetensors.1.part").touch()
    again = writer(tmp_path, form)
    assert not again.has(1)
    again.add(1, *cycle(1))
    again.finish([1])
    assert torch.equal(ProxySet(path=str(tmp_path)).load("train")[0], cycle(1)[0])
    assert not list(tmp_path.rglob("*.part"))


def test_what_does_not_fit_is_not_written(tmp_path, form):
    images, labels = cycle(1)
    out = writer(tmp_path, form)
    for wrong, of in ((images[:, :1], labels), (images.float(), labels), (images[:0], labels[:0]), (images[0], labels[:1])):
        with pytest.raises(GancoreError, match="not 8-bit ones of"):
            out.add(1, wrong, of)
    for of in (labels[1:], labels.int()):
        with pytest.raises(GancoreError, match="for 7 images"):
            out.add(1, images, of)
    for label in (-1, CLASSES):
        with pytest.raises(GancoreError, match="outside the 5 classes"):
            out.add(1, images, labels.index_fill(0, torch.tensor(0), label))
    assert not list(tmp_path.iterdir())
    for keys, sentence in (({"form": "tiff"}, "not as 'tiff'"), ({"form": "png", "channels": 2}, "1 or 3 channels")):
        with pytest.raises(GancoreError, match=sentence):
            writer(tmp_path, **keys)


def test_a_cycle_is_there_whole_or_not_at_all(tmp_path, monkeypatch):
    out = writer(tmp_path, "png")
    saved = Image.Image.save
    calls = []

    def fails(self: Image.Image, *words: Any, **keys: Any) -> None:
        calls.append(1)
        if len(calls) == 3:
            raise OSError(28, "No space left on device")
        saved(self, *words, **keys)

    monkeypatch.setattr(Image.Image, "save", fails)
    with pytest.raises(GancoreError, match="No space left"):
        out.add(1, *cycle(1))
    assert not out.has(1)
    assert list(tmp_path.iterdir()) == []


# -- sampling ----------------------------------------------------------------------------------------------------------


def prior(folder: Path) -> tuple[Any, list[Path]]:
    run = run_of({"run": {"checkpoint_every": 2}})
    for _ in range(2):
        steps(run, 2)
        checkpoint.save(run, folder)
    return run, checkpoint.checkpoints(folder)


def darkness(images: Tensor) -> Tensor:
    """Logits of five classes, by an image's mean."""
    return -(images.mean((1, 2, 3))[:, None] - torch.linspace(-1, 1, CLASSES)).abs()


def to(folder: Path) -> Writer:
    return Writer(folder, form="safetensors", channels=1, image_size=8, classes=CLASSES, about={})


def test_each_cycle_is_of_its_own_live_generator(tmp_path):
    run, checkpoints = prior(tmp_path / "run")
    said: list[str] = []
    summary = sample_cycles(run, checkpoints, 300, darkness, to(tmp_path / "proxy"), progress=said.append)
    assert summary.cycles == [2, 4]
    images, labels = ProxySet(path=str(tmp_path / "proxy")).load("train")
    assert len(images) == 600
    assert torch.equal(labels, darkness(to_unit(images)).argmax(1))
    for place, path in enumerate(checkpoints):
        checkpoint.load(run, path)
        network = run.networks["generator"].eval()
        drawn = run.latent(250, "proxy", int(path.stem), 0)
        with torch.no_grad():
            wanted = to_uint8(network(drawn.z, drawn.label))
        assert torch.equal(images[300 * place : 300 * place + 250], wanted)
        # The moving average is another network by now.
        assert not torch.equal(wanted, to_uint8(run.generator("ema").eval()(drawn.z, drawn.label).detach()))
    p = darkness(to_unit(images)).double().softmax(1).numpy()
    assert summary.confidence == pytest.approx(p.max(1).mean(), rel=1e-5)
    assert summary.entropy == pytest.approx(-(p * np.log(p)).sum(1).mean(), rel=1e-5)
    assert said == [f"cycle {k}: 300 images, {n} of 5 classes" for k, n in zip((2, 4), summary.distinct, strict=True)]


def test_sampling_goes_on_to_the_same_set(tmp_path):
    run, checkpoints = prior(tmp_path / "run")
    whole = sample_cycles(run, checkpoints, 20, darkness, to(tmp_path / "one"), progress=lambda _: None)
    sample_cycles(run, checkpoints[:1], 20, darkness, to(tmp_path / "two"), progress=lambda _: None)
    said: list[str] = []
    again = sample_cycles(run, checkpoints, 20, darkness, to(tmp_path / "two"), progress=said.append)
    assert [line.split(":")[0] for line in said] == ["cycle 4"]
    assert again.counts == whole.counts
    assert again.certainty == whole.certainty
    assert ProxySummary.read(tmp_path / "two").certainty == whole.certainty
    one, two = (ProxySet(path=str(tmp_path / name)).load("train")[0] for name in ("one", "two"))
    assert torch.equal(one, two)


def test_a_set_is_resized_where_a_size_is_asked_for(tmp_path):
    run, checkpoints = prior(tmp_path / "run")
    sample_cycles(run, checkpoints, 5, darkness, to(tmp_path / "proxy"), progress=lambda _: None)
    own, larger = (ProxySet(path=str(tmp_path / "proxy"), image_size=size) for size in (0, 16))
    assert (own.info.image_size, larger.info.image_size) == (8, 16)
    (small, labels), (large, same) = own.load("train"), larger.load("train")
    assert torch.equal(labels, same)
    wanted = torch.nn.functional.interpolate(small.float(), scale_factor=2, mode="bilinear").round().to(torch.uint8)
    assert large.shape == (10, 1, 16, 16)
    assert (large.int() - wanted.int()).abs().max() <= 1


def test_a_set_without_certainty_is_read(tmp_path):
    run, checkpoints = prior(tmp_path / "run")
    sample_cycles(run, checkpoints, 5, darkness, to(tmp_path / "proxy"), progress=lambda _: None)
    path = tmp_path / "proxy" / "proxy.json"
    content = json.loads(path.read_text())
    for cycle in content["cycles"]:
        del cycle["confidence"], cycle["entropy"]
    path.write_text(json.dumps(content))
    assert ProxySummary.read(tmp_path / "proxy").entropy is None


def test_sampling_without_cycles_is_refused(tmp_path):
    with pytest.raises(GancoreError, match="no cycles"):
        sample_cycles(run_of(), [], 5, darkness, to(tmp_path), progress=lambda _: None)


def test_the_network_classifies_in_eval_mode(tmp_path):
    class Counting(torch.nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            modes.append(self.training)
            return darkness(images)

    modes: list[bool] = []
    run, checkpoints = prior(tmp_path / "run")
    network = Counting()
    sample_cycles(run, checkpoints, 3, network, to(tmp_path / "proxy"), progress=lambda _: None)
    assert modes == [False, False]
    assert network.training
    assert run.networks["generator"].training


def test_what_can_not_be_sampled_is_refused(tmp_path):
    run, checkpoints = prior(tmp_path / "run")
    with pytest.raises(GancoreError, match="0 are asked for"):
        sample_cycles(run, checkpoints, 0, darkness, to(tmp_path / "proxy"), progress=lambda _: None)
    with pytest.raises(GancoreError, match="gives 3 classes and the proxy set has 5"):
        sample_cycles(run, checkpoints, 2, lambda x: darkness(x)[:, :3], to(tmp_path / "proxy"), progress=lambda _: None)
    assert not (tmp_path / "proxy").exists()


# -- errors ------------------------------------------------------------------------------------------------------------


def written_set(folder: Path, form: Any = "safetensors") -> Path:
    out = writer(folder, form)
    out.add(1, *cycle(1))
    out.finish([1])
    return folder


def sentence(folder: Path) -> str:
    with pytest.raises(GancoreError) as caught:
        ProxySet(path=str(folder)).load("train")
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_no_folder_or_no_summary(tmp_path):
    assert "does not exist" in sentence(tmp_path / "nothing")
    out = writer(tmp_path)
    out.add(1, *cycle(1))
    assert "is not finished" in sentence(tmp_path)


def test_an_empty_set(tmp_path):
    writer(tmp_path).finish([])
    assert "is empty" in sentence(tmp_path)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"format": 9}', '{"format": 1, "cycles": 3}'])
def test_a_damaged_summary(tmp_path, text):
    written_set(tmp_path)
    (tmp_path / "proxy.json").write_text(text)
    assert "damaged" in sentence(tmp_path)


def test_a_missing_or_damaged_cycle(tmp_path):
    one = written_set(tmp_path / "one")
    (one / "cycle-00000001.safetensors").write_bytes(b"nothing")
    assert "damaged" in sentence(one)
    (one / "cycle-00000001.safetensors").unlink()
    assert "lacks" in sentence(one)
    two = written_set(tmp_path / "two", "png")
    next(two.glob("*/*.png")).write_bytes(b"nothing")
    assert "damaged" in sentence(two)
    three = written_set(tmp_path / "three", "png")
    Image.new("RGB", (9, 9)).save(next(three.glob("*/*.png")))
    assert "damaged" in sentence(three)


def test_pictures_that_went_missing_or_were_replaced(tmp_path):
    for place, size, mode in ((0, (8, 2), "RGB"), (1, (4, 4), "L"), (6, None, "")):
        folder = written_set(tmp_path / str(place), "png")
        picture = sorted(folder.glob("*/*.png"))[place]
        picture.unlink()
        if size:
            Image.new(mode, size).save(picture)
        assert ("damaged" if size else "is not what proxy.json says") in sentence(folder)


@pytest.mark.parametrize("change", [{"form": "tiff"}, {"classes": 0}, {"classes": 4}, {"channels": -1}, {"about": 3}])
def test_a_summary_of_no_set(tmp_path, change):
    folder = written_set(tmp_path)
    described = json.loads((folder / "proxy.json").read_text())
    (folder / "proxy.json").write_text(json.dumps({**described, **change}))
    assert "damaged" in sentence(folder)


def test_there_is_no_third_split(tmp_path):
    with pytest.raises(GancoreError, match="splits"):
        ProxySet(path=str(written_set(tmp_path))).load("val")


def test_images_of_another_shape(tmp_path):
    folder = written_set(tmp_path)
    described = json.loads((folder / "proxy.json").read_text())
    (folder / "proxy.json").write_text(json.dumps({**described, "image_size": 8}))
    assert "(3, 8, 8)" in sentence(folder)


# -- the plot ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [1, 40])
def test_the_plot_shows_both_lines(number):
    cycles = [50 * (k + 1) for k in range(number)]
    picture = classes_picture(cycles, 1000, each=[100 + k for k in range(number)], so_far=[100 + 20 * k for k in range(number)])
    assert picture.width > picture.height > 300
    colors = {color for _, color in picture.getcolors(1 << 20) or []}
    assert set(_LINES[:2]) <= colors


def test_a_plot_of_nothing_is_refused():
    with pytest.raises(GancoreError, match="at least one cycle"):
        classes_picture([], 10, each=[], so_far=[])

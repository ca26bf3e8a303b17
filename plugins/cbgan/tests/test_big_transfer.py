"""The few-labels classifier: parity with BiT's code, its published file, its fine-tuning, and its place in a recipe."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from gancore_cbgan.big_transfer import BitResNet, ResizeCrop, StdConv2d
from gancore_standard.schedules import steps
from torch.nn import functional as F

from gancore import Drawn, GancoreError
from gancore.cli.main import main
from gancore.contract.settings import check
from gancore.recipe.layers import read_layer
from gancore.registry import registry
from tests.formulas import fill_formula, grid_img

Load = Callable[[str], dict[str, Any]]
TINY = (1, 1, 1, 1)


def tiny(**settings: Any) -> BitResNet:
    torch.manual_seed(0)
    return BitResNet(channels=3, classes=7, units=TINY, input_size=64, **settings)


def write_published(path: Path, network: BitResNet, *, leave_out: str = "") -> dict[str, np.ndarray]:
    """Write a network as BiT's release does: TensorFlow's names, kernels as (height, width, inputs, outputs)."""
    generator = np.random.default_rng(0)
    arrays = {}
    for tensor, name in network._published_names():
        shape = tuple(tensor.shape)
        shape = (*shape[2:], shape[1], shape[0]) if len(shape) == 4 else shape
        arrays[f"resnet/{name}"] = generator.normal(size=shape).astype(np.float32)
    arrays["resnet/head/conv2d/kernel"] = np.zeros((1, 1, 2048, 21843), np.float16)
    arrays.pop(leave_out, None)
    np.savez(path, **arrays)
    return arrays


def test_standardized_convolution_agrees_with_bit(parity: Load) -> None:
    vectors = parity("bit_resnetv2")
    x, weight = (torch.from_numpy(vectors[f"stdconv_{name}"]) for name in "xw")
    outputs, inputs, height, width = weight.shape
    expected = torch.from_numpy(vectors["stdconv_y"])
    conv = StdConv2d(inputs, outputs, (height, width), padding=1 if x.shape[-1] == expected.shape[-1] else 0, bias=False)
    conv.weight.data.copy_(weight)
    torch.testing.assert_close(conv(x), expected, rtol=1e-5, atol=1e-5)


def test_logits_agree_with_bit(parity: Load) -> None:
    network = tiny()
    fill_formula(network, gain=0.5)
    logits = network(grid_img(1, 3, 64, 64))
    torch.testing.assert_close(logits, torch.from_numpy(parity("bit_resnetv2")["tiny_1111_head7_logits"]), rtol=1e-4, atol=1e-5)


def test_fine_tuning_follows_the_hyperrule(parity: Load) -> None:
    vectors = parity("bit_hyperrule")
    settings = read_layer("cbgan/cifar10-few-labels-classifier", registry()).table
    optimizer = settings["optimizers"]["classifier"]
    schedule = {key: value for key, value in optimizer["schedule"].items() if key != "use"}
    assert settings["run"]["iterations"] == vectors["schedule_500"][-1]
    assert vectors["mixup_500"] == 0
    factor = steps(**schedule)
    ours = [optimizer["lr"] * factor(iteration) for iteration in range(500)]
    # BiT takes a first step at rate 0; from then on the two agree.
    np.testing.assert_allclose(ours[:499], vectors["lr_500"][1:500], rtol=1e-6)


def test_the_default_is_the_published_size() -> None:
    with torch.device("meta"):
        network = BitResNet(channels=3, classes=10)
    assert sum(p.numel() for p in network.parameters()) == 23_500_352 + 2048 * 10 + 10


def test_a_new_classifier_calls_all_classes_alike() -> None:
    assert not tiny()(torch.randn(2, 3, 32, 32)).any()


@pytest.mark.parametrize(("channels", "size"), [(3, 32), (1, 28), (3, 64), (3, 97)])
def test_gradients_reach_images_of_any_size(channels: int, size: int) -> None:
    network = BitResNet(channels=channels, classes=4, units=TINY, input_size=64).eval()
    torch.nn.init.normal_(network.linear.weight)
    x = torch.rand(2, channels, size, size, requires_grad=True)
    logits = network(x)
    assert logits.shape == (2, 4)
    logits[:, 0].sum().backward()
    assert x.grad is not None
    assert x.grad.shape == x.shape
    assert x.grad.abs().amax(dim=(1, 2, 3)).min() > 0


def test_the_published_file_is_loaded_but_for_its_head(tmp_path: Path) -> None:
    path = tmp_path / "published.npz"
    arrays = write_published(path, tiny())
    network = tiny(pretrained=str(path))
    first = network.stages[1][0]
    kernel = arrays["resnet/block2/unit01/b/standardized_conv2d/kernel"]
    assert torch.equal(first.conv2.weight, torch.from_numpy(kernel.transpose(3, 2, 0, 1)))
    assert torch.equal(
        first.shortcut.weight[:, :, 0, 0].T,
        torch.from_numpy(arrays["resnet/block2/unit01/a/proj/standardized_conv2d/kernel"][0, 0]),
    )
    assert torch.equal(network.norm.bias, torch.from_numpy(arrays["resnet/group_norm/beta"]))
    assert not network.linear.weight.any()


def test_every_weight_but_the_head_has_a_published_name() -> None:
    network = tiny()
    named = {id(tensor) for tensor, _ in network._published_names()}
    left = {name for name, parameter in network.named_parameters() if id(parameter) not in named}
    assert left == {"linear.weight", "linear.bias"}


def test_a_name_is_looked_up_in_the_data_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_published(tmp_path / "published.npz", tiny())
    monkeypatch.setenv("GANCORE_DATA", str(tmp_path))
    assert tiny(pretrained="published.npz").stem.weight.std() > 0.5


def _pickled(path: Path) -> None:
    np.savez(path, **{"resnet/root_block/standardized_conv2d/kernel": np.array([{}], dtype=object)})


def _array(path: Path) -> None:
    with path.open("wb") as file:
        np.save(file, np.zeros(3))


WRONG: dict[str, tuple[Callable[[Path], Any], str]] = {
    "missing": (lambda _path: None, "download it from https://storage.googleapis.com/bit_models/given.npz"),
    "no archive": (lambda path: path.write_text("<html>"), "no .npz file"),
    "pickled": (_pickled, "no .npz file"),
    "an array": (_array, "no .npz file"),
    "bomb": (
        lambda path: np.savez_compressed(
            path, **{"resnet/root_block/standardized_conv2d/kernel": np.zeros(50_000_000, np.uint8)}
        ),
        "unpacks to 50000128 bytes",
    ),
    "another network": (lambda path: np.savez(path, a=np.zeros(3)), "lacks resnet/root_block/standardized_conv2d/kernel"),
    "one short": (
        lambda path: write_published(path, tiny(), leave_out="resnet/block3/unit01/c/group_norm/beta"),
        "lacks resnet/block3/unit01/c/group_norm/beta",
    ),
    "wider": (
        lambda path: np.savez(path, **{"resnet/root_block/standardized_conv2d/kernel": np.zeros((7, 7, 3, 192), np.float32)}),
        "has shape (192, 3, 7, 7), not (64, 3, 7, 7)",
    ),
}


@pytest.mark.parametrize("kind", WRONG)
def test_a_wrong_file_is_refused(kind: str, tmp_path: Path) -> None:
    write, sentence = WRONG[kind]
    path = tmp_path / "given.npz"
    write(path)
    with pytest.raises(GancoreError, match=re.escape(sentence)):
        tiny(pretrained=str(path))


def test_wrong_settings_are_refused() -> None:
    with pytest.raises(GancoreError, match="4 stages, not 2"):
        BitResNet(channels=3, classes=2, units=(1, 1))
    with pytest.raises(GancoreError, match="1 or 3 channels, not 2"):
        BitResNet(channels=2, classes=2)
    with pytest.raises(GancoreError, match="input_size"):
        check(BitResNet, {"input_size": 16}, where="networks.classifier")
    with pytest.raises(GancoreError, match="can't crop 161 pixels out of 160"):
        ResizeCrop(crop=161)


def test_each_image_is_cropped_at_its_own_place() -> None:
    sampler = ResizeCrop(size=40, crop=32)
    batch = Drawn(real=grid_img(8, 3, 20, 20), real_label=torch.arange(8))
    cropped = sampler.draw(batch, torch.Generator().manual_seed(3))
    again = sampler.draw(batch, torch.Generator().manual_seed(3))
    assert torch.equal(cropped.real, again.real)
    assert torch.equal(cropped.real_label, batch.real_label)
    resized = F.interpolate(batch.real, size=(40, 40), mode="bilinear", align_corners=False)
    places = set()
    for image, whole in zip(cropped.real, resized, strict=True):
        matches = [(y, x) for y in range(9) for x in range(9) if torch.equal(whole[:, y : y + 32, x : x + 32], image)]
        assert len(matches) == 1
        places.update(matches)
    assert len(places) > 1


def test_a_recipe_fine_tunes_and_then_trains_with_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The recipes' own tables, on small data: five labels a class, the published file, then the GAN with the result."""
    monkeypatch.setenv("GANCORE_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    write_published(tmp_path / "BiT-M-R50x1.npz", tiny())
    small = "input_size = 32\nunits = [1, 1, 1, 1]\n"
    (tmp_path / "classifier.toml").write_text(
        'extends = "cbgan/cifar10-few-labels-classifier"\n'
        "[run]\niterations = 2\nbatch_size = 16\nlog_every = 1\nevaluate_every = 0\n"
        '[data]\nuse = "standard/digits"\nimage_size = 16\n[samplers.crop]\nsize = 40\ncrop = 32\n[networks.classifier]\n'
        + small
    )
    (tmp_path / "gan.toml").write_text(
        'extends = "cbgan/digits-lt"\n[run]\niterations = 2\nlog_every = 1\nevaluate_every = 0\nsample_every = 0\n'
        "[evaluation]\nsamples = 20\n[networks.annotator]\n"
        f'trained_by = "{tmp_path}/classifier.toml"\nuse = "cbgan/bit-resnet50"\n{small}'
        '[networks.classifier]\nuse = "cbgan/bit-resnet50"\n'
        f'trained_by = "{tmp_path}/classifier.toml"\ninherits = ["data"]\n{small}'
    )
    done = CliRunner().invoke(main, ["train", "gan.toml", "--out", "run"])
    assert done.exit_code == 0, done.output
    assert done.output.count("has no weights yet") == 1  # the annotator is the same classifier
    assert (tmp_path / "run/weights/generator.safetensors").is_file()


def test_a_gan_refuses_a_sampler_that_changes_the_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    words = ["train", "cbgan/digits-lt-baseline", "--out", "run", "--set", "networks.annotator=false"]
    words += ["--set", "metrics=false", "--set", "samplers.crop.use=cbgan/resize-crop"]
    done = CliRunner().invoke(main, words)
    assert done.exit_code == 2
    assert "the discriminator can't see real ones of 1 x 128 x 128 and fake ones of 1 x 8 x 8 in one batch" in done.output

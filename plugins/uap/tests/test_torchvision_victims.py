"""torchvision's classifiers on images in [-1, 1]: their names, their logits, and what is refused."""

from __future__ import annotations

import copy
import hashlib
from pathlib import Path
from typing import Any
from urllib.error import URLError

import pytest
import torch
from gancore_standard.torchvision_import import torchvision
from gancore_uap.torchvision_victims import PretrainedClassifier, TorchvisionClassifier
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from gancore import GancoreError
from gancore.contract.settings import check
from gancore.files.tensors import load_weights

WEIGHTS = Path(__file__).resolve().parents[3].parent / "shared" / "data" / "weights"
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)

# Each family names its last layer in its own way, and some have more than layers in their state.
MODELS = {
    "resnet18": (32, 512),
    "squeezenet1_1": (32, 5),
    "densenet121": (32, 1024),
    "googlenet": (32, 1024),
    "inception_v3": (75, 2048),
    "mnasnet0_5": (32, 1280),
    "mobilenet_v3_small": (32, 1024),
    "shufflenet_v2_x0_5": (32, 1024),
    "regnet_y_400mf": (32, 440),
    "swin_t": (32, 768),
    "vit_b_32": (64, 768),
}


def plain(model: str, classes: int = 5, **settings: Any) -> nn.Module:
    """Return torchvision's own model, and no warning about how it is initialized."""
    if model in ("googlenet", "inception_v3"):
        settings |= {"init_weights": False, "transform_input": True}
    network: nn.Module = torchvision().models.get_model(model, weights=None, num_classes=classes, **settings)
    return network.eval()


def victim(model: str, image_size: int = 32, **settings: Any) -> TorchvisionClassifier:
    return TorchvisionClassifier(model=model, **{"classes": 5, "channels": 3, "image_size": image_size, **settings})


def images(size: int = 32, number: int = 2) -> Tensor:
    return torch.rand(number, 3, size, size, generator=torch.Generator().manual_seed(0)) * 2 - 1


def normalized(x: Tensor, mean: tuple[float, ...] = MEAN, std: tuple[float, ...] = STD) -> Tensor:
    return ((x + 1) / 2 - torch.tensor(mean).view(3, 1, 1)) / torch.tensor(std).view(3, 1, 1)


@pytest.mark.parametrize("model", MODELS)
def test_each_family_is_torchvisions(model: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    size, features = MODELS[model]
    network = plain(model, **({"image_size": size} if model.startswith("vit") else {}))
    save_file(network.state_dict(), tmp_path / "weights.safetensors")
    ours = victim(model, size).eval()
    assert list(ours.state_dict()) == list(network.state_dict())
    load_weights(ours, tmp_path / "weights.safetensors", where="test")
    x = images(size)
    with torch.no_grad():
        logits, seen = ours(x), ours.embed(x)
        torch.testing.assert_close(logits, network(normalized(x)), rtol=1e-4, atol=1e-5)
        assert torch.equal(ours.classify(seen), logits)
    assert seen.shape == (2, ours.features) == (2, features)
    assert logits.shape == (2, ours.classes) == (2, 5)
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in ours.modules())


@pytest.mark.parametrize("model", ["resnet18", "mnasnet0_5", "vit_b_32"])
def test_its_state_is_its_tensors_under_torchvisions_names(model: str) -> None:
    torch.manual_seed(0)
    ours, other = victim(model), victim(model)
    for name, value in ours.state_dict().items():
        assert value.data_ptr() == ours.network.state_dict()[name].data_ptr()
    # A checkpoint gives back a dict that has lost what torch writes beside the tensors.
    other.load_state_dict({name: value.clone() for name, value in ours.state_dict().items()})
    assert torch.equal(other.eval()(images()), ours.eval()(images()))
    inside = nn.Sequential(nn.Identity(), ours)
    assert list(inside.state_dict()) == [f"1.{name}" for name in ours.state_dict()]
    nn.Sequential(nn.Identity(), other).load_state_dict(inside.state_dict())
    again = copy.deepcopy(ours)
    assert torch.equal(again(images()), ours(images()))
    assert list(again.state_dict()) == list(ours.state_dict())
    with pytest.raises(RuntimeError, match="Missing key"):
        other.load_state_dict(dict(list(ours.state_dict().items())[1:]))


def test_published_weights_of_a_file() -> None:
    path = WEIGHTS / "imagenet_squeezenet1_1.safetensors"
    if not path.is_file():
        pytest.skip(f"ImageNet weights are not at hand: {path.name}, beside the repository in shared/data/weights")
    ours = victim("squeezenet1_1", 224, classes=1000)
    load_weights(ours, path, where="test")
    network = plain("squeezenet1_1", classes=1000)
    network.load_state_dict(load_file(path))
    x = images(224)
    with torch.no_grad():
        torch.testing.assert_close(ours.eval()(x), network(normalized(x)), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("model", "size"), [("googlenet", 32), ("inception_v3", 75), ("resnet18", 32)])
def test_it_trains_without_auxiliary_heads(model: str, size: int) -> None:
    torch.manual_seed(0)
    ours = victim(model, size)
    assert ours.training
    assert all(m.training for m in ours.modules() if isinstance(m, nn.BatchNorm2d))
    x = images(size).requires_grad_()
    logits = ours.classify(ours.embed(x))
    assert logits.shape == (2, 5)
    logits.square().sum().backward()
    assert x.grad is not None
    assert x.grad.abs().sum() > 0
    without = {name for name, p in ours.network.named_parameters() if p.grad is None}
    assert all(name.lower().startswith("aux") for name in without)
    assert not any(module.training for module in ours.eval().modules())


def test_images_are_normalized_as_torchvision_does() -> None:
    torch.manual_seed(0)
    ours = victim("squeezenet1_1").eval()
    pixels = torch.randint(0, 256, (1, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    transforms = torchvision().models.SqueezeNet1_1_Weights.DEFAULT.transforms(crop_size=32, resize_size=32)
    torch.testing.assert_close(ours(pixels / 127.5 - 1), ours.network(transforms(pixels)), rtol=1e-4, atol=1e-5)


def test_a_mean_of_ones_own() -> None:
    torch.manual_seed(0)
    ours = victim("squeezenet1_1", mean=[0.4, 0.5, 0.6], std=[0.2, 0.25, 0.5]).eval()
    x = images()
    expected = ours.network(normalized(x, (0.4, 0.5, 0.6), (0.2, 0.25, 0.5)))
    torch.testing.assert_close(ours(x), expected, rtol=1e-4, atol=1e-5)


def test_the_default_mean_is_that_of_the_models_own_weights() -> None:
    ours = victim("efficientnet_v2_l", 33)
    assert ours.scale.flatten().tolist() == [1, 1, 1]
    assert ours.shift.flatten().tolist() == [0, 0, 0]


def test_a_recipes_settings() -> None:
    context = {"classes": 10, "channels": 3, "image_size": 32, "latent_dim": 8}
    settings = {"model": "squeezenet1_1", "mean": [0, 0.5, 1], "std": [1, 1, 1]}
    arguments = check(TorchvisionClassifier, settings, where="test", context=context)
    assert TorchvisionClassifier(**arguments).classes == 10
    arguments = check(TorchvisionClassifier, {**settings, "classes": 1000}, where="test", context=context)
    assert TorchvisionClassifier(**arguments).classes == 1000
    for wrong in ({"mean": "gray"}, {"classes": 0}, {"input_size": -1}):
        with pytest.raises(GancoreError, match=f"test: {next(iter(wrong))} must be"):
            check(TorchvisionClassifier, {**settings, **wrong}, where="test", context=context)
    with pytest.raises(GancoreError, match="no setting 'classes'"):
        check(PretrainedClassifier, {"model": "resnet18", "classes": 5}, where="test", context=context)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"model": "resnet19"}, r"no classifier 'resnet19'.*did you mean 'resnet1.*set model to one of"),
        ({"model": "fcn_resnet50"}, "no classifier 'fcn_resnet50'.*did you mean 'resnet50'"),
        ({"model": "zzz"}, r"no classifier 'zzz' \(set model"),
        ({"channels": 1}, "sees images of 3 channels, not 1; choose"),
        ({"input_size": 224}, "trained for images of at least 224 px, and the data's have 32 px; set data.image_size = 224"),
        ({"mean": [0.5]}, "mean must have 3 values, one per channel, not 1"),
        ({"std": [0.5] * 4}, "std must have 3 values, one per channel, not 4"),
        ({"std": [0.5, 0.0, 0.5]}, "std must be above 0"),
        ({"model": "vit_b_16", "image_size": 30}, "vit_b_16 does not take images of 30 px .*set data.image_size = 224"),
        ({"model": "maxvit_t"}, "maxvit_t does not take images of 32 px .*set data.image_size = 224"),
        ({"model": "inception_v3"}, "inception_v3 does not take images of 32 px .*set data.image_size = 299"),
        ({"model": "alexnet", "image_size": 8}, "alexnet does not take images of 8 px"),
    ],
)
def test_what_is_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(GancoreError, match=message) as caught:
        victim(**{"model": "resnet18", **settings})
    assert str(caught.value).endswith(".")
    assert "\n" not in str(caught.value)


def test_images_of_the_least_size_or_above_are_taken() -> None:
    assert victim("squeezenet1_1", 40, input_size=40).eval()(images(48)).shape == (2, 5)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of torch, and no network."""

    def unplugged(*_: Any, **__: Any) -> None:
        raise URLError("no route to host")

    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    monkeypatch.setattr(torch.hub, "download_url_to_file", unplugged)
    return tmp_path


def cached(cache: Path, monkeypatch: pytest.MonkeyPatch, weights: Any, content: Any) -> Path:
    """Save something in torch's cache under the name of published weights, with a name that states its hash."""
    (cache / "checkpoints").mkdir(exist_ok=True)
    path = cache / "checkpoints" / "content.pth"
    torch.save(content, path)
    name = f"weights-{hashlib.sha256(path.read_bytes()).hexdigest()[:8]}.pth"
    monkeypatch.setattr(weights.value, "url", f"https://example.org/{name}")
    return path.rename(path.with_name(name))


def test_torchvisions_own_weights(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    network = plain("squeezenet1_1", classes=1000)
    cached(cache, monkeypatch, torchvision().models.SqueezeNet1_1_Weights.DEFAULT, network.state_dict())
    ours = PretrainedClassifier(model="squeezenet1_1", image_size=32, channels=3, input_size=0).eval()
    assert (ours.classes, ours.features) == (1000, 1000)
    assert not PretrainedClassifier.frozen_needs_weights
    assert TorchvisionClassifier.frozen_needs_weights
    x = images()
    torch.testing.assert_close(ours(x), network(normalized(x)), rtol=1e-4, atol=1e-5)
    with pytest.raises(GancoreError, match="at least 224 px"):
        PretrainedClassifier(model="squeezenet1_1", image_size=32, channels=3)


def test_a_version_of_the_weights_is_asked_for_by_its_name(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = torchvision().models.ResNet50_Weights.IMAGENET1K_V1
    assert first is not torchvision().models.ResNet50_Weights.DEFAULT
    torch.manual_seed(0)
    network = plain("resnet50", classes=1000)
    cached(cache, monkeypatch, first, network.state_dict())
    ours = PretrainedClassifier(model="resnet50", image_size=32, channels=3, input_size=0, version="IMAGENET1K_V1")
    assert torch.equal(ours.state_dict()["fc.weight"], network.state_dict()["fc.weight"])
    with pytest.raises(GancoreError, match="can't be had"):
        PretrainedClassifier(model="resnet50", image_size=32, channels=3, input_size=0)
    with pytest.raises(GancoreError, match=r"no weights 'V1' of resnet50 .*IMAGENET1K_V1, IMAGENET1K_V2"):
        PretrainedClassifier(model="resnet50", image_size=32, channels=3, input_size=0, version="V1")


def test_weights_that_can_not_be_had(cache: Path) -> None:
    message = r"torchvision's resnet18 can't be had from https://.*\.pth .*no route.*uap/torchvision with .*classes = 1000\.$"
    with pytest.raises(GancoreError, match=message):
        PretrainedClassifier(model="resnet18", image_size=32, channels=3, input_size=0)
    (cache / "checkpoints").mkdir(exist_ok=True)
    name = torchvision().models.ResNet18_Weights.DEFAULT.url.rpartition("/")[2]
    (cache / "checkpoints" / name).write_bytes(b"cut off")
    with pytest.raises(GancoreError, match=r"resnet18-f37072fd\.pth is damaged or another file, for its hash is not the one"):
        PretrainedClassifier(model="resnet18", image_size=32, channels=3, input_size=0)
    with pytest.raises(GancoreError, match="no classifier 'resnet'"):
        PretrainedClassifier(model="resnet", image_size=32, channels=3)


class Hostile:
    """Writes a file when it is unpickled."""

    def __init__(self, victim: Path) -> None:
        self.victim = victim

    def __reduce__(self) -> Any:
        return (Path.touch, (self.victim,))


def test_what_lies_in_torchs_cache_runs_no_code(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    published = torchvision().models.ResNet18_Weights.DEFAULT
    state = {**plain("resnet18", classes=1000).state_dict(), "fc.bias": Hostile(cache / "victim")}
    path = cached(cache, monkeypatch, published, state)
    with pytest.raises(GancoreError, match="holds code beside tensors, which is not run"):
        PretrainedClassifier(model="resnet18", image_size=32, channels=3, input_size=0)
    # The same under a name that states another hash.
    monkeypatch.setattr(published.value, "url", "https://example.org/weights-01234567.pth")
    path.rename(path.with_name("weights-01234567.pth"))
    with pytest.raises(GancoreError, match="its hash is not the one in its name"):
        PretrainedClassifier(model="resnet18", image_size=32, channels=3, input_size=0)
    assert not (cache / "victim").exists()
    other = cached(cache, monkeypatch, published, plain("resnet18", classes=3).state_dict())
    with pytest.raises(GancoreError, match="do not fit its network"):
        PretrainedClassifier(model="resnet18", image_size=32, channels=3, input_size=0)
    assert other.exists()

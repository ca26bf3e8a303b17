"""The scores of core: what they report, what they refuse, and that feeding them never waits for the device."""

from __future__ import annotations

import hashlib
import math
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.error import URLError

import numpy as np
import pytest
import torch
from gancore_standard.inception import Inception
from gancore_standard.metrics.cas import ClassificationAccuracy, cropped
from gancore_standard.metrics.frechet import FrechetDistance
from gancore_standard.metrics.histogram import ClassHistogram
from gancore_standard.metrics.inception_score import InceptionScore
from gancore_standard.metrics.label_agreement import LabelAgreement
from gancore_standard.metrics.probabilities import ClassProbabilities
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from gancore import GancoreError, Metric
from gancore.contract.settings import CONTEXT, check
from gancore.engine.batches import to_unit

Parity = Callable[[str], dict[str, Any]]

IMAGES = {"classes": 3, "channels": 1, "image_size": 8}


class NoHostSync(TorchDispatchMode):
    """Fails on any operation that reads a tensor's value on the host."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        assert not any(name in str(func) for name in ("_local_scalar_dense", "nonzero", "masked_select")), func
        return func(*args, **(kwargs or {}))


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def cas(**settings: Any) -> ClassificationAccuracy:
    small: dict[str, Any] = {
        "architecture": "small-cnn",
        "classifier_iterations": 40,
        "classifier_batch_size": 32,
        "network": "annotator",
    }
    return ClassificationAccuracy(**IMAGES, **{**small, **settings})


def separable(number: int, seed: int) -> tuple[Tensor, Tensor]:
    """Images (number, 1, 8, 8) in [-1, 1] of three classes: which rows are bright says which; and their labels."""
    labels = torch.arange(number) % 3
    images = 0.2 * noise(number, 1, 8, 8, seed=seed) - 0.5
    rows = torch.arange(8)[None, :] // 3 == labels[:, None]
    return (images + rows[:, None, :, None]).clamp(-1, 1), labels


def logits_of(labels: Tensor, classes: int = 3) -> Tensor:
    return 4 * torch.nn.functional.one_hot(labels, classes).float()


def cas_of(metric: ClassificationAccuracy, images: Tensor, labels: Tensor) -> float:
    metric.update(images=images, labels=labels, logits=logits_of(labels))
    real, real_labels = separable(150, seed=99)
    metric.update_real(images=real, labels=real_labels)
    score: float = metric.compute()["cas"]
    return score


# -- Fréchet distance --------------------------------------------------------------------------------------------------


def test_the_frechet_distance_equals_the_published_codes_however_the_features_come(parity: Parity) -> None:
    v = parity("fid_is")
    metric = FrechetDistance()
    for features in torch.from_numpy(v["A"]).split(64):
        metric.update_real(features=features)
    for features in torch.from_numpy(v["B"]).split(50):
        metric.update(features=features)
    assert metric.compute() == {"fid": pytest.approx(float(v["fid"]), rel=1e-9)}


def test_a_frechet_distance_forgets_generated_images_and_keeps_the_real_ones() -> None:
    metric = FrechetDistance(network="classifier")
    features = noise(40, 5)
    metric.update_real(features=features)
    metric.update(features=features + 2)
    # A shift by 2 in five dimensions is a distance of 5 * 2^2.
    assert metric.compute()["fid"] == pytest.approx(20, rel=1e-5)
    metric.reset()
    with pytest.raises(GancoreError, match=r"on the features of 'classifier': .* there are 0 of the generated images"):
        metric.compute()
    metric.update(features=features)
    assert metric.compute()["fid"] == pytest.approx(0, abs=1e-12)


def test_a_frechet_distance_without_real_images_is_refused() -> None:
    metric = FrechetDistance()
    metric.update(features=noise(4, 2))
    with pytest.raises(GancoreError, match=r"Fréchet distance .* there are 0 of the real images"):
        metric.compute()


def test_features_that_are_not_finite_are_refused_by_the_metrics_name() -> None:
    metric = FrechetDistance()
    metric.update_real(features=noise(4, 2))
    metric.update(features=torch.full((4, 2), math.nan))
    with pytest.raises(GancoreError, match=r"Fréchet distance .* the generated images hold values that are not finite"):
        metric.compute()


# -- Inception score ---------------------------------------------------------------------------------------------------


def test_the_inception_score_equals_the_published_codes_however_the_logits_come(parity: Parity) -> None:
    v = parity("fid_is")
    metric = InceptionScore(splits=5)
    for logits in torch.from_numpy(v["probs"]).log().split(30):
        metric.update(logits=logits)
    scores = metric.compute()
    assert [scores["inception_score"], scores["inception_score_std"]] == pytest.approx(
        v["IS_improvedgan_splits5"].tolist(), rel=1e-9
    )
    metric.reset()
    metric.update(logits=torch.zeros(6, 4))
    assert metric.compute() == {"inception_score": pytest.approx(1), "inception_score_std": pytest.approx(0, abs=1e-12)}


@pytest.mark.parametrize(
    ("logits", "words"),
    [
        (torch.zeros(0, 3), "at least two generated images"),
        (torch.zeros(1, 3), "at least two generated images"),
        (torch.zeros(9, 3), "can't split 9 samples into 10"),
        (torch.full((20, 3), math.inf), "not finite"),
    ],
)
def test_an_inception_score_of_too_little_or_of_no_numbers_is_refused(logits: Tensor, words: str) -> None:
    metric = InceptionScore(network="inception")
    metric.update(logits=logits)
    with pytest.raises(GancoreError, match=f"Inception score on the logits of 'inception'.*{words}"):
        metric.compute()
    with pytest.raises(GancoreError, match="at least two generated images"):
        InceptionScore().compute()


# -- class histogram ---------------------------------------------------------------------------------------------------


def test_the_class_histogram_counts_largest_logits_and_their_divergence_from_uniform(parity: Parity) -> None:
    v = parity("cbgan_regularizer")
    labels = torch.repeat_interleave(torch.arange(5), torch.tensor((20 * v["KL_P"]).round().astype(int)))
    metric = ClassHistogram()
    for logits in logits_of(labels, 5).split(7):
        metric.update(logits=logits)
    scores = metric.compute()
    assert scores["histogram"] == pytest.approx([0.5, 0.2, 0.15, 0.1, 0.05])
    assert scores["kl"] == pytest.approx(float(v["KL"]), rel=1e-9)
    assert scores["distinct_classes"] == 5


def test_a_class_histogram_begins_anew_after_a_reset() -> None:
    metric = ClassHistogram(smoothing=0.0)
    metric.update(logits=logits_of(torch.tensor([0, 1, 2])))
    metric.reset()
    metric.update(logits=logits_of(torch.tensor([1, 1, 1, 1])))
    assert metric.compute() == {"kl": pytest.approx(math.log(3)), "histogram": [0, 1, 0], "distinct_classes": 1}


def test_a_class_histogram_of_too_little_or_of_no_numbers_is_refused() -> None:
    metric = ClassHistogram(network="annotator")
    with pytest.raises(GancoreError, match="Class histogram by 'annotator': it needs at least two"):
        metric.compute()
    metric.update(logits=torch.zeros(1, 3))
    with pytest.raises(GancoreError, match="at least two"):
        metric.compute()
    metric.update(logits=torch.tensor([[0.0, math.nan, 0.0]]))
    metric.update(logits=torch.zeros(5, 3))
    with pytest.raises(GancoreError, match="Class histogram by 'annotator': the logits hold values that are not finite"):
        metric.compute()
    with pytest.raises(GancoreError, match=r"shape \(5, 4\)"):
        metric.update(logits=torch.zeros(5, 4))


# -- class probabilities -----------------------------------------------------------------------------------------------


def test_unsure_predictions_are_uniform_in_the_mean_and_sure_ones_of_one_class_are_not() -> None:
    metric = ClassProbabilities()
    metric.update(logits=torch.zeros(6, 4))
    unsure = {"soft_kl": pytest.approx(0, abs=1e-12), "entropy": pytest.approx(math.log(4)), "mean_probabilities": [0.25] * 4}
    assert metric.compute() == unsure
    metric.reset()
    metric.update(logits=torch.tensor([[0.0, -math.inf, -math.inf, -math.inf]]).clamp_min(-1e4).expand(5, 4))
    sure = {"soft_kl": pytest.approx(math.log(4)), "entropy": pytest.approx(0), "mean_probabilities": [1, 0, 0, 0]}
    assert metric.compute() == sure


def test_soft_divergence_and_entropy_are_what_the_inception_score_of_one_split_is_made_of() -> None:
    logits = 2 * noise(40, 5, seed=3)
    score, metric = InceptionScore(splits=1), ClassProbabilities()
    for batch in logits.split(7):
        metric.update(logits=batch)
        score.update(logits=batch)
    scores = metric.compute()
    assert scores["mean_probabilities"] == pytest.approx(logits.double().softmax(1).mean(0).tolist())
    expected = math.log(score.compute()["inception_score"])
    assert math.log(5) - scores["soft_kl"] - scores["entropy"] == pytest.approx(expected, rel=1e-6)


def test_class_probabilities_of_too_little_or_of_no_numbers_are_refused() -> None:
    metric = ClassProbabilities(network="annotator")
    metric.update(logits=torch.zeros(1, 3))
    with pytest.raises(GancoreError, match="Class probabilities by 'annotator': it needs at least two"):
        metric.compute()
    metric.update(logits=torch.tensor([[0.0, math.nan, 0.0]]))
    with pytest.raises(GancoreError, match="Class probabilities by 'annotator': the logits hold values that are not finite"):
        metric.compute()
    with pytest.raises(GancoreError, match=r"shape \(5, 4\)"):
        metric.update(logits=torch.zeros(5, 4))


# -- label agreement ---------------------------------------------------------------------------------------------------


def test_label_agreement_is_the_share_of_images_that_have_the_label_asked_for() -> None:
    metric = LabelAgreement(network="annotator")
    with pytest.raises(GancoreError, match="Label agreement by 'annotator': it needs at least one"):
        metric.compute()
    metric.update(labels=torch.tensor([0, 1, 2]), logits=logits_of(torch.tensor([0, 1, 1])))
    metric.update(labels=torch.tensor([0, 2]), logits=torch.tensor([[math.nan, 0, 0], [0, 0, 1]]))
    assert metric.compute() == {"agreement": pytest.approx(3 / 5)}
    metric.reset()
    metric.update(labels=torch.tensor([1]), logits=logits_of(torch.tensor([1])))
    assert metric.compute() == {"agreement": 1}


# -- classification accuracy score -------------------------------------------------------------------------------------


def test_a_classifier_learns_a_separable_set_and_not_one_with_shuffled_labels() -> None:
    images, labels = separable(300, seed=1)
    assert cas_of(cas(), images, labels) > 0.95
    shuffled = labels[torch.randperm(300, generator=torch.Generator().manual_seed(2))]
    assert cas_of(cas(), images, shuffled) < 0.6


def test_generated_images_that_never_show_a_class_cannot_teach_it() -> None:
    images, labels = separable(300, seed=1)
    shown = labels != 1
    assert cas_of(cas(), images[shown], labels[shown]) == pytest.approx(2 / 3, abs=0.02)


def test_the_labels_are_the_networks_or_the_generators_as_set() -> None:
    images, labels = separable(300, seed=1)
    wrong = (labels + 1) % 3
    real, real_labels = separable(150, seed=99)
    scores = {}
    for choice in ("network", "generator"):
        metric = cas(labels=choice)
        metric.update(images=images, labels=wrong, logits=logits_of(labels))
        metric.update_real(images=real, labels=real_labels)
        scores[choice] = metric.compute()["cas"]
    assert scores["network"] > 0.95
    assert scores["generator"] < 0.05
    assert cas(labels="generator").network is None  # so the network is not run


def test_the_same_seed_gives_the_same_classifier_whatever_the_batches_and_the_global_random_state(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    images, labels = separable(90, seed=1)
    images += 0.8 * noise(90, 1, 8, 8, seed=3)  # hard enough that two classifiers differ
    results = []
    for pieces, state, seed in ((90, 0, 0), (13, 1, 0), (90, 0, 5)):
        torch.manual_seed(state)
        metric = cas(classifier_iterations=12, seed=seed, flip=True)
        for x, y in zip(images.split(pieces), labels.split(pieces), strict=True):
            metric.update(images=x, labels=y, logits=logits_of(y))
        models: list[nn.Module] = []
        monkeypatch.setattr(metric, "_test", lambda model, models=models: models.append(model))
        metric.update_real(images=images, labels=labels)
        metric.compute()
        results.append([p.detach().clone() for p in models[0].parameters()])
    assert all(torch.equal(a, b) for a, b in zip(results[0], results[1], strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(results[0], results[2], strict=True))


def test_training_the_classifier_leaves_the_global_random_state_alone() -> None:
    torch.manual_seed(7)
    before = torch.get_rng_state()
    cas_of(cas(classifier_iterations=2, flip=True), *separable(60, seed=1))
    assert torch.equal(torch.get_rng_state(), before)


def test_the_classifier_trains_where_gradients_are_switched_off_and_twice_alike() -> None:
    metric = cas()
    with torch.no_grad():
        assert cas_of(metric, *separable(300, seed=1)) > 0.95
    first = metric.compute()
    assert metric.compute() == first


def test_a_flip_mirrors_about_half_of_the_images() -> None:
    _, flips = cas(classifier_iterations=50)._order(10)
    assert flips.shape == (50, 32)
    assert flips.float().mean() == pytest.approx(0.5, abs=0.05)


def test_a_crop_is_cut_out_of_the_padded_image() -> None:
    images = torch.arange(1, 2 * 3 * 4 * 5 + 1, dtype=torch.uint8).view(2, 3, 4, 5)
    corners = torch.tensor([[0, 4], [2, 1]])
    whole = np.pad(images.numpy(), ((0, 0), (0, 0), (2, 2), (2, 2)))
    expected = np.stack([whole[0, :, 0:4, 2:7], whole[1, :, 4:8, 1:6]])
    assert cropped(images, corners, 2).numpy().tolist() == expected.tolist()
    drawn = cas(crop_padding=2, classifier_iterations=40)._corners()
    assert drawn.shape == (40, 2, 32)
    assert set(drawn.unique().tolist()) == {0, 1, 2, 3, 4}
    assert cas_of(cas(crop_padding=1, classifier_iterations=30), *separable(300, seed=1)) > 0.9


def test_the_classifier_sees_every_image_once_per_epoch() -> None:
    order, _ = cas(classifier_iterations=5, classifier_batch_size=8)._order(10)
    assert order.shape == (5, 8)
    assert sorted(order.flatten()[:10].tolist()) == list(range(10))
    assert sorted(order.flatten()[10:20].tolist()) == list(range(10))


@pytest.mark.parametrize("architecture", ["resnet20", "resnet32"])
def test_a_residual_network_of_any_width_can_be_trained(architecture: str) -> None:
    score = cas_of(cas(architecture=architecture, width=4, classifier_iterations=2), *separable(30, seed=1))
    assert 0 <= score <= 1


def test_the_runs_own_iterations_and_batch_size_do_not_become_the_classifiers() -> None:
    context = {**IMAGES, "iterations": 100_000, "batch_size": 2, "latent_dim": 8, "features": 4, "spectral_norm": True}
    assert context.keys() <= set(CONTEXT)
    settings = {"labels": "generator", "architecture": "small-cnn"}
    metric = ClassificationAccuracy(**check(ClassificationAccuracy, settings, where="x", context=context))
    assert (metric.iterations, metric.batch_size) == (1000, 128)


def test_everything_that_the_training_depends_on_is_in_the_protocol() -> None:
    base = cas().protocol()
    changes: dict[str, Any] = {
        "labels": "generator",
        "architecture": "resnet20",
        "width": 2,
        "lr": 0.1,
        "flip": True,
        "crop_padding": 1,
        "schedule": "steps",
        "seed": 1,
    }
    changes |= {"classifier_iterations": 1, "classifier_batch_size": 2}
    for name, value in changes.items():
        assert cas(**{name: value}).protocol() != base, name


def test_a_score_that_labels_by_a_network_needs_the_networks_name() -> None:
    with pytest.raises(GancoreError, match="needs the setting network"):
        cas(network=None)


def test_a_width_that_the_network_does_not_take_is_refused_before_training() -> None:
    with pytest.raises(GancoreError, match="small-cnn: width must be"):
        cas(width=-1)


def test_a_classification_accuracy_score_of_unusable_input_is_refused() -> None:
    images, labels = separable(6, seed=1)
    metric = cas(classifier_iterations=1)
    with pytest.raises(GancoreError, match="at least two generated images and one real image"):
        metric.compute()
    metric.update(images=images, labels=labels, logits=logits_of(labels))
    with pytest.raises(GancoreError, match="at least two generated images and one real image"):
        metric.compute()
    with pytest.raises(GancoreError, match="'annotator' gives none"):
        metric.update(images=images, labels=labels)
    with pytest.raises(GancoreError, match=r"'annotator' gives logits of the shape \(6, 1008\)"):
        metric.update(images=images, labels=labels, logits=torch.zeros(6, 1008))
    metric.update_real(images=images, labels=labels)
    metric.update(images=images, labels=labels, logits=torch.full((6, 3), math.nan))
    with pytest.raises(GancoreError, match="logits of 'annotator' hold values that are not finite"):
        metric.compute()

    metric = cas(labels="generator", classifier_iterations=1)
    metric.update_real(images=images, labels=labels)
    metric.update(images=images, labels=labels + 1)
    with pytest.raises(GancoreError, match="labels from 1 to 3, but the data have 3 classes"):
        metric.compute()


def test_training_that_diverges_is_no_score() -> None:
    with pytest.raises(GancoreError, match=r"diverges at lr = 1e\+30; set a smaller lr"):
        cas_of(cas(lr=1e30, classifier_iterations=20), *separable(60, seed=1))


# -- all of them -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "build",
    [FrechetDistance, InceptionScore, ClassHistogram, ClassProbabilities, LabelAgreement, cas, lambda: cas(labels="generator")],
)
def test_feeding_a_metric_never_waits_for_the_device(build: Callable[[], Any]) -> None:
    metric = build()
    images, labels = separable(6, seed=1)
    tensors = {"images": images, "labels": labels, "logits": logits_of(labels), "features": noise(6, 4)}
    for method in ("update", "update_real"):
        if hasattr(metric, method):
            names = [name for name in tensors if name in getattr(metric, method).__annotations__]
            with NoHostSync():
                for _ in range(2):
                    getattr(metric, method)(**{name: tensors[name] for name in names})


@pytest.mark.parametrize("cls", [FrechetDistance, InceptionScore, ClassHistogram, ClassificationAccuracy])
def test_settings_are_checked_and_protocols_can_be_stored(cls: type[Metric]) -> None:
    arguments = check(cls, {"network": "annotator"}, where="x", context=IMAGES)
    metric = cls(**arguments)
    assert metric.network == "annotator"
    assert all(isinstance(value, str | int | float | bool | None) for value in metric.protocol().values())
    assert set(metric.better.values()) <= {"lower", "higher"}
    with pytest.raises(GancoreError, match="has no setting"):
        check(cls, {"splitz": 3}, where="x", context=IMAGES)


@pytest.mark.parametrize(
    ("cls", "settings"),
    [
        (InceptionScore, {"splits": 0}),
        (ClassHistogram, {"smoothing": -1}),
        (ClassificationAccuracy, {"lr": 0}),
        (ClassificationAccuracy, {"classifier_batch_size": 1}),
        (ClassificationAccuracy, {"labels": "mine"}),
    ],
)
def test_settings_out_of_range_are_refused(cls: type[Metric], settings: dict[str, Any]) -> None:
    with pytest.raises(GancoreError, match=f"{next(iter(settings))} must be"):
        check(cls, settings, where="x", context=IMAGES)


# -- Inception ---------------------------------------------------------------------------------------------------------

URL = "https://example.org/v0/weights-inception-{}.pth"


class FakeExtractor(nn.Module):
    """Has the interface of torch-fidelity 0.3 and 0.4, and remembers what it is shown."""

    def __init__(self, name: str, features_list: list[str], feature_extractor_weights_path: str | None = None) -> None:
        super().__init__()
        assert isinstance(name, str)
        assert features_list == ["2048"]
        assert feature_extractor_weights_path is not None
        self.fc = nn.Linear(2048, 1008)
        self.load_state_dict(torch.load(feature_extractor_weights_path, weights_only=True))
        self.seen: list[Tensor] = []

    def forward(self, x: Tensor) -> tuple[Tensor]:
        assert x.dtype == torch.uint8
        assert x.ndim == 4
        assert x.shape[1] == 3
        self.seen.append(x)
        return (x.float().mean((1, 2, 3))[:, None].expand(-1, 2048),)


@pytest.fixture
def fidelity(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Put a stand-in of torch-fidelity in place; return a file of weights that fits it."""
    package = types.ModuleType("torch_fidelity")
    module = types.ModuleType("torch_fidelity.feature_extractor_inceptionv3")
    module.FeatureExtractorInceptionV3 = FakeExtractor  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "torch_fidelity", package)
    monkeypatch.setitem(sys.modules, "torch_fidelity.feature_extractor_inceptionv3", module)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    path = tmp_path / "weights.pth"
    torch.save(nn.Linear(2048, 1008).state_dict(), path)
    state = torch.load(path, weights_only=True)
    torch.save({f"fc.{name}": value for name, value in state.items()}, path)
    module.URL_INCEPTION_V3 = URL.format(hash_of(path))  # type: ignore[attr-defined]
    return path


def hash_of(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()[:8]


@pytest.mark.parametrize("channels", [1, 3])
def test_inception_is_shown_all_256_levels_in_three_channels(fidelity: Path, channels: int) -> None:
    levels = torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16).repeat(2, channels, 1, 1)
    network = Inception(channels=channels, path=str(fidelity))
    features = network.embed(to_unit(levels))
    assert torch.equal(network.extractor.seen[0], levels[:, :1].expand(-1, 3, -1, -1))  # type: ignore[index]
    assert features.shape == (2, network.features) == (2, 2048)


def test_inceptions_logits_are_those_without_the_bias(fidelity: Path) -> None:
    network = Inception(path=str(fidelity))
    state = torch.load(fidelity, weights_only=True)
    features = noise(4, 2048)
    expected = features.numpy() @ state["fc.weight"].numpy().T
    np.testing.assert_allclose(network.classify(features).numpy(), expected, rtol=1e-4, atol=1e-5)
    assert network(noise(2, 3, 8, 8)).shape == (2, network.classes) == (2, 1008)


def test_inception_is_frozen_and_stays_in_eval_mode(fidelity: Path) -> None:
    network = Inception(path=str(fidelity)).train()
    assert not any(module.training for module in network.modules())
    assert not any(parameter.requires_grad for parameter in network.parameters())


def test_inceptions_path_may_begin_at_home(fidelity: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(fidelity.parent))
    Inception(path="~/weights.pth")


def test_images_of_two_channels_are_refused(fidelity: Path) -> None:
    with pytest.raises(GancoreError, match="1 or 3 channels, not 2"):
        Inception(channels=2, path=str(fidelity))
    with pytest.raises(GancoreError, match="1 or 3 channels, not 4"):
        Inception(path=str(fidelity)).embed(torch.zeros(1, 4, 8, 8))


def test_a_missing_torch_fidelity_is_named_with_the_command_that_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith("torch_fidelity")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "torch_fidelity", None)
    with pytest.raises(GancoreError, match=r'needs the package torch-fidelity, .*"gancore-plugin-standard\[inception\]"'):
        Inception()


def test_a_missing_weights_file_is_named(fidelity: Path) -> None:
    with pytest.raises(GancoreError, match=r"no weights file .*nowhere\.pth"):
        Inception(path=str(fidelity.with_name("nowhere.pth")))


class Hostile:
    """Writes a file when it is unpickled."""

    def __init__(self, victim: Path) -> None:
        self.victim = victim

    def __reduce__(self) -> Any:
        return (Path.touch, (self.victim,))


def test_a_weights_file_that_runs_code_is_refused_before_it_runs(fidelity: Path) -> None:
    victim = fidelity.with_name("victim")
    torch.save({"fc.weight": Hostile(victim)}, fidelity)
    with pytest.raises(GancoreError, match="holds code beside tensors, which is not run"):
        Inception(path=str(fidelity))
    assert not victim.exists()


@pytest.mark.parametrize("content", [b"", b"not a file of weights", b"PK\x03\x04 cut short"])
def test_a_damaged_weights_file_is_refused(fidelity: Path, content: bytes) -> None:
    fidelity.write_bytes(content)
    with pytest.raises(GancoreError, match="damaged"):
        Inception(path=str(fidelity))


@pytest.mark.parametrize(
    "content", [[1, 2], {"fc.weight": 3}, {"another.weight": torch.zeros(2)}, {"fc.weight": torch.zeros(2)}]
)
def test_the_weights_of_something_else_are_refused(fidelity: Path, content: Any) -> None:
    torch.save(content, fidelity)
    with pytest.raises(GancoreError, match="does not hold the weights"):
        Inception(path=str(fidelity))


def test_without_a_path_the_weights_are_downloaded_once_and_their_hash_is_checked(
    fidelity: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []

    def download(url: str, to: str, hash_prefix: str, progress: bool) -> None:
        calls.append((url, hash_prefix))
        Path(to).write_bytes(fidelity.read_bytes())

    monkeypatch.setattr(torch.hub, "download_url_to_file", download)
    Inception()
    Inception()
    assert calls == [(URL.format(hash_of(fidelity)), hash_of(fidelity))]
    (file,) = (fidelity.parent / "hub" / "checkpoints").iterdir()
    content = bytearray(file.read_bytes())
    content[-900] ^= 1
    file.write_bytes(content)
    with pytest.raises(GancoreError, match="its hash is not the one in its name; delete it"):
        Inception()


@pytest.mark.parametrize("cause", [URLError("no route"), RuntimeError("invalid hash value"), OSError("disk full")])
def test_weights_that_are_not_to_be_had_are_an_error_that_names_the_path_setting(
    fidelity: Path, monkeypatch: pytest.MonkeyPatch, cause: Exception
) -> None:
    def download(*_: Any, **__: Any) -> None:
        raise cause

    monkeypatch.setattr(torch.hub, "download_url_to_file", download)
    with pytest.raises(GancoreError, match=r"can't be had from https://example\.org/.* set the network's path"):
        Inception()

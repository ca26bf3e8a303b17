"""Robust accuracy as a score: against an attack and gradients written out, and what is refused before a training."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from gancore_standard.metrics.accuracy import HeadAccuracy, TestAccuracy
from gancore_standard.metrics.robust_accuracy import RobustAccuracy
from gancore_standard.robustness import robust_accuracy
from torch import Tensor
from torch.nn import functional as F

from gancore import GancoreError
from gancore.engine.batches import to_unit
from gancore.engine.run import Run
from tests.compose.hosts import run_of, same

CLASSIFIER: dict[str, Any] = {
    "run": {"batch_size": 8, "precision": "float32"},
    "data": {"use": "standard/digits"},
    "loop": {"use": "standard/supervised"},
    "networks": {"classifier": {"use": "host/classifier"}},
    "losses": {"cross_entropy": {"use": "standard/cross-entropy"}},
}
FROZEN: dict[str, Any] = {"networks": {"annotator": {"use": "host/classifier"}}}
HEAD: dict[str, Any] = {
    "networks": {"generator": {"use": "standard/sndcgan-generator", "width": 0.125, "conditional": True}},
    "heads": {"classes": {"use": "standard/auxiliary-classifier"}},
    "losses": {"classes": {"use": "standard/auxiliary-classifier"}},
}


@pytest.fixture(scope="module")
def run() -> Run:
    """The run of a classifier that has learned the digits a little."""
    built = run_of(base=CLASSIFIER)
    network = built.networks["classifier"]
    images, labels = built.plan.dataset.load("train")
    optimizer = torch.optim.Adam(network.parameters(), lr=0.02)
    for _ in range(60):
        optimizer.zero_grad()
        F.cross_entropy(network(to_unit(images)), labels).backward()
        optimizer.step()
    optimizer.zero_grad()
    return built


def by_hand(network: Any, images: Tensor, labels: Tensor, epsilon: float) -> tuple[float, float]:
    """Accuracy after one step of the gradient's sign, and the mean norm of the gradient, image by image."""
    right, norms = 0, 0.0
    for image, label in zip(images, labels, strict=True):
        leaf = image[None].clone().requires_grad_()
        (grad,) = torch.autograd.grad(F.cross_entropy(network(leaf), label[None]), leaf)
        norms += float(grad.double().square().sum().sqrt())
        attacked = (leaf.detach() + epsilon * grad.sign()).clamp(-1, 1)
        # An image that is wrong from the start stays wrong.
        right += int(network(leaf).argmax() == label and network(attacked).argmax() == label)
    return right / len(labels), norms / len(labels)


def test_the_scores_equal_an_attack_and_gradients_written_out(run: Run) -> None:
    metric = RobustAccuracy(attack="fastrobgan/fgsm", epsilons=[0.0, 0.05, 0.2], samples=10_000)
    scores = metric.score_run(run)
    images, labels = run.plan.dataset.load("test")
    for epsilon, name in ((0.0, "natural"), (0.0, "accuracy_0"), (0.05, "accuracy_0.05"), (0.2, "accuracy_0.2")):
        accuracy, lipschitz = by_hand(run.networks["classifier"], to_unit(images), labels, epsilon)
        assert scores[name] == pytest.approx(accuracy, abs=1.5 / len(labels)), name
        assert scores["lipschitz"] == pytest.approx(lipschitz, rel=1e-4)
    assert scores["natural"] > scores["accuracy_0.05"] > scores["accuracy_0.2"]
    assert set(metric.better) == set(scores)
    assert RobustAccuracy.better.keys() == {"natural", "lipschitz"}


def test_the_scores_are_those_of_gancore_attack_with_the_settings_given(run: Run) -> None:
    settings = {"steps": 3, "norm": "l2"}
    metric = RobustAccuracy(attack="fastrobgan/pgd", epsilons=[0.5], settings=settings, samples=40, split="train", seed=3)
    result = robust_accuracy(run, "fastrobgan/pgd", [0.5], settings=settings, samples=40, split="train", seed=3)
    assert metric.score_run(run) == {
        "natural": result.natural,
        "accuracy_0.5": result.accuracy["0.5"],
        "lipschitz": result.lipschitz,
    }
    protocol = metric.protocol()
    assert protocol.items() <= result.protocol.items()
    assert protocol["attack"] == "fastrobgan/pgd"
    assert (protocol["settings"], protocol["split"], protocol["images"], protocol["seed"]) == (settings, "train", 40, 3)
    assert not {"id", "weights", "classifier"} & protocol.keys()


def test_a_score_leaves_the_run_as_it_was(run: Run) -> None:
    before = run_of(base=CLASSIFIER)
    before.networks["classifier"].load_state_dict(run.networks["classifier"].state_dict())
    state = torch.get_rng_state()
    metric = RobustAccuracy(attack="fastrobgan/pgd", epsilons=[0.1], samples=20)
    metric.prepare(run)
    assert metric.score_run(run) == metric.score_run(run)
    assert not same(run, before)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(p.grad is None and p.requires_grad for p in run.networks["classifier"].parameters())
    assert run.networks["classifier"].training


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"attack": "fastrobgan/pdg"}, "did you mean 'fastrobgan/pgd'"),
        ({"attack": "fastrobgan/free"}, r"^the robust accuracy \(fastrobgan/free\) lives in a training"),
        ({"settings": {"stepps": 2}}, r"^the robust accuracy \(fastrobgan/pgd\) has no setting 'stepps'"),
        ({"epsilons": [0.1, 3.0]}, r"^the robust accuracy \(fastrobgan/pgd\): .*epsilon"),
        ({"classifier": "clasifier"}, "has no classifier 'clasifier'.*did you mean 'classifier'"),
    ],
)
def test_what_cannot_be_scored_is_refused_before_the_training(run: Run, settings: dict[str, Any], words: str) -> None:
    metric = RobustAccuracy(**{"attack": "fastrobgan/pgd", "epsilons": [0.1], **settings})
    with pytest.raises(GancoreError, match=words):
        metric.prepare(run)


@pytest.mark.parametrize(
    ("tables", "classifier", "words"),
    [
        ([], None, r"test trains discriminator, generator, and no classifier or head with class logits to score; name a run"),
        (
            [FROZEN],
            None,
            r"no classifier or head with class logits to score \(it shares annotator with other runs\); name a run",
        ),
        ([FROZEN], "annotator", r"no classifier or head with class logits"),
        ([FROZEN, HEAD], "annotator", r"test does not train annotator, which it shares with other runs.*trains \(classes\)"),
        ([FROZEN, HEAD], "clases", r"has no classifier 'clases'.*did you mean 'classes'"),
    ],
)
def test_what_the_run_does_not_train_is_not_scored(tables: list[Any], classifier: str | None, words: str) -> None:
    with pytest.raises(GancoreError, match=words) as raised:
        RobustAccuracy(attack="fastrobgan/pgd", epsilons=[0.1], classifier=classifier).prepare(run_of(*tables))
    assert len(str(raised.value)) <= 400


def test_of_a_run_with_a_frozen_network_the_head_that_it_trains_is_attacked() -> None:
    result = robust_accuracy(run_of(FROZEN, HEAD), "fastrobgan/fgsm", [0.1], samples=10)
    assert result.protocol["classifier"] == "classes"


def test_the_accuracy_of_a_network_that_the_run_does_not_train_is_not_scored() -> None:
    TestAccuracy(classes=10).prepare(run_of(base=CLASSIFIER))
    with pytest.raises(GancoreError, match="shares annotator with other runs"):
        TestAccuracy(classes=10, network="annotator").prepare(run_of(FROZEN))


def test_the_accuracy_of_a_head_is_that_of_its_logits_for_the_datas_classes() -> None:
    run = run_of(HEAD)
    images, labels = run.plan.dataset.load("test")
    network, head = run.networks["discriminator"].eval(), run.heads["classes"]
    with torch.no_grad():
        logits = head(network(to_unit(images)), labels)
    metric = HeadAccuracy(classes=10)
    metric.prepare(run)
    assert metric.score_run(run) == {"accuracy": pytest.approx(float((logits.argmax(1) == labels).float().mean()))}
    assert metric.protocol() == {"head": "classes", "images": len(labels)}
    assert HeadAccuracy(classes=1).score_run(run)["accuracy"] == pytest.approx(float((labels == 0).float().mean()))


def test_the_accuracy_of_a_head_without_class_logits_is_not_scored() -> None:
    with pytest.raises(GancoreError, match=r"has no classifier 'adversarial' \(it has: classes\)"):
        HeadAccuracy(classes=10, head="adversarial").prepare(run_of(HEAD))


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"epsilons": []}, r"one or more finite budgets, each once, not \[\]"),
        ({"epsilons": [0.1, 0.1]}, "each once"),
        ({"epsilons": [float("inf")]}, "finite"),
        ({"settings": {"epsilon": 0.3}}, "leave it out"),
    ],
)
def test_budgets_that_are_none_are_refused(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(GancoreError, match=words):
        RobustAccuracy(**{"attack": "fastrobgan/pgd", "epsilons": [0.1], **settings})

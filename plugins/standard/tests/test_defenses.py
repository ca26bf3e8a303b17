"""Defenses: what the classifier gets, what the attacker sees, and that scores are those of the defended classifier."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any, Literal

import pytest
import torch
from gancore_standard.defenses import BitDepth, build_defense, defended, seen
from gancore_standard.metrics.robust_accuracy import RobustAccuracy
from gancore_standard.robustness import attack_batches, robust_accuracy
from torch import Tensor
from torch.nn import functional as F

import gancore
from gancore import GancoreError
from gancore.engine.batches import to_unit
from gancore.engine.run import Run
from gancore.registry import Registry
from tests import hosts
from tests.compose import hosts as all_hosts
from tests.compose.hosts import run_of

CLASSIFIER: dict[str, Any] = {
    "run": {"batch_size": 8, "precision": "float32"},
    "data": {"use": "standard/digits"},
    "loop": {"use": "standard/supervised"},
    "networks": {"classifier": {"use": "host/classifier"}},
    "losses": {"cross_entropy": {"use": "standard/cross-entropy"}},
}


class Quiet(gancore.Defense):
    """Halves images and adds noise: a random defense that passes gradients.

    Args:
        sees: What the attacker sees.
        scale: How loud.
    """

    def __init__(self, *, sees: Literal["bare", "substitute", "through"] = "through", scale: float = 0.1) -> None:
        super().__init__()
        self.sees = sees
        self.scale = scale
        self.runs: list[Any] = []

    def prepare(self, run: Any) -> None:
        if run.recipe.name == "refused":
            raise GancoreError("this run has no generator.")
        self.runs.append(run)

    def defend(self, x: Tensor, noise: torch.Generator) -> Tensor:
        return x / 2 + self.scale * torch.rand(x.shape, generator=noise)


class Blind(Quiet):
    """Passes no gradient."""

    def defend(self, x: Tensor, noise: torch.Generator) -> Tensor:
        return x.detach() / 2


class Cropping(Quiet):
    """Returns smaller images."""

    def defend(self, x: Tensor, noise: torch.Generator) -> Tensor:
        return x[..., :4, :4]


def trained(plugins: Registry | None = None) -> Run:
    """Return the run of a classifier that has learned the digits a little."""
    built = Run(hosts.plan_of(base=CLASSIFIER, plugins=plugins or all_hosts.registry()), hosts.CPU)
    network = built.networks["classifier"]
    images, labels = built.plan.dataset.load("train")
    optimizer = torch.optim.Adam(network.parameters(), lr=0.02)
    for _ in range(60):
        optimizer.zero_grad()
        F.cross_entropy(network(to_unit(images)), labels).backward()
        optimizer.step()
    optimizer.zero_grad()
    return built


@pytest.fixture(scope="module")
def run() -> Run:
    """The run of a classifier, beside a plugin with the defenses of this file."""

    @gancore.hookimpl
    def gancore_defenses() -> Iterator[gancore.Component]:
        for name, cls in {"quiet": Quiet, "blind": Blind, "cropping": Cropping}.items():
            yield gancore.Component(name, f"{cls.__module__}:{cls.__name__}", "A defense of a test")

    module = ModuleType("guards")
    module.gancore_defenses = gancore_defenses  # type: ignore[attr-defined]
    from importlib import import_module

    from gancore_testing import host

    from tests import probe
    from tests.conftest import PLUGINS

    plugins = {name: import_module(f"gancore_{name}") for name in PLUGINS}
    return trained(Registry.of({**plugins, "probe": probe, "host": host, "guards": module}))


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


X = torch.rand(6, 1, 4, 4, generator=rng(1)) * 2 - 1


@pytest.mark.parametrize("bits", [1, 3, 8])
def test_bit_depth_leaves_so_many_levels(bits: int) -> None:
    ramp = torch.linspace(-1, 1, 5001).view(1, 1, 1, -1)
    squeezed = BitDepth(bits=bits).defend(ramp, rng())
    assert len(squeezed.unique()) == 2**bits
    assert (squeezed - ramp).abs().max() <= 1 / (2**bits - 1) + 1e-6
    assert squeezed[0, 0, 0, 0] == -1
    assert squeezed[0, 0, 0, -1] == 1


def test_the_default_substitute_has_the_values_of_the_defense_and_the_gradient_of_nothing() -> None:
    leaf = X.clone().requires_grad_()
    squeezed = BitDepth(bits=2).substitute(leaf, rng())
    assert torch.equal(squeezed.detach(), BitDepth(bits=2).defend(X, rng()))
    (gradient,) = torch.autograd.grad((squeezed * X).sum(), leaf)
    assert torch.equal(gradient, X)


def logits(x: Tensor) -> Tensor:
    return torch.stack([x.sum((1, 2, 3)), -(x.sum((1, 2, 3)) ** 2)], 1)


@pytest.mark.parametrize(
    ("sees", "expected", "slope"),
    [
        ("bare", lambda x: x, 1.0),
        ("substitute", lambda x: Quiet().defend(x, rng(7)), 1.0),
        ("through", lambda x: Quiet().defend(x, rng(7)), 0.5),
    ],
)
def test_the_attacker_sees_what_the_defense_says(sees: Any, expected: Callable[[Tensor], Tensor], slope: float) -> None:
    leaf = X.clone().requires_grad_()
    viewed = seen(logits, Quiet(sees=sees), rng(7))(leaf)
    torch.testing.assert_close(viewed.detach(), logits(expected(X)))
    (gradient,) = torch.autograd.grad(viewed[:, 0].sum(), leaf)
    torch.testing.assert_close(gradient, torch.full_like(X, slope))


def test_without_a_defense_the_classifier_is_seen_and_judged_as_it_is() -> None:
    assert seen(logits, None, rng()) is logits
    assert defended(logits, None, rng()) is logits


class Push(gancore.Attack):
    """Adds a step against what it sees, and remembers the logits."""

    gradient = "logits"

    def __init__(self) -> None:
        super().__init__()
        self.epsilon = 0.3
        self.seen: list[Tensor] = []

    def fool(self, x: Tensor, label: Tensor, classify: Any, noise: torch.Generator) -> Tensor:
        self.seen.append(classify(x))
        return -x


@pytest.mark.parametrize("sees", ["bare", "substitute", "through"])
def test_accuracies_are_those_behind_the_defense_whatever_the_attacker_sees(sees: Any) -> None:
    defense, attack = Quiet(sees=sees, scale=0.0), Push()
    # Behind the defense the sums are half of those before: images of sum above 2 are of class 1 bare, and of class 0 defended.
    classify = lambda x: torch.stack([x.sum((1, 2, 3)), torch.ones(len(x))], 1)  # noqa: E731
    images = torch.full((2, 1, 1, 1), 0.0)
    images[0], images[1] = 1.8, 3.0
    natural, accuracy, number = attack_batches(
        classify, [(images, torch.zeros(2, dtype=torch.int64))], {"a": attack}, 0, defense
    )
    assert (natural, accuracy["a"], number) == (0.5, 0.0, 2)
    (viewed,) = attack.seen
    assert viewed[0, 0] == (3.0 if sees == "bare" else 1.5)


def test_scores_of_a_defended_classifier_say_how_it_was_defended(run: Run) -> None:
    plain = robust_accuracy(run, "fastrobgan/fgsm", [0.0, 0.1], samples=120)
    guarded = robust_accuracy(
        run, "fastrobgan/fgsm", [0.0, 0.1], samples=120, defense="bit-depth", defense_settings={"bits": 1}
    )
    assert guarded.protocol["defense"] == {"use": "standard/bit-depth", "settings": {"bits": 1}, "sees": "substitute"}
    assert "defense" not in plain.protocol
    assert guarded.protocol["id"] != plain.protocol["id"]
    assert guarded.protocol["weights"] == plain.protocol["weights"]
    images, labels = run.plan.dataset.load("test")
    squeezed = BitDepth(bits=1).defend(to_unit(images), rng())
    whole = robust_accuracy(run, "fastrobgan/fgsm", [0.0], samples=10_000, defense="bit-depth", defense_settings={"bits": 1})
    network = run.networks["classifier"].eval()
    assert whole.natural == pytest.approx(float((network(squeezed).argmax(1) == labels).double().mean()))
    network.train()
    assert guarded.accuracy["0"] == guarded.natural


def test_a_random_defense_scores_the_same_again(run: Run) -> None:
    scores = [
        robust_accuracy(run, "fastrobgan/pgd", [0.1], samples=60, defense="quiet", defense_settings={"scale": 0.5}, seed=seed)
        for seed in (0, 0, 1)
    ]
    assert scores[0].accuracy == scores[1].accuracy
    assert (scores[0].natural, scores[0].lipschitz) == (scores[1].natural, scores[1].lipschitz)
    assert scores[0].lipschitz != scores[2].lipschitz


def test_the_metric_scores_the_defended_classifier(run: Run) -> None:
    metric = RobustAccuracy(
        attack="fastrobgan/fgsm", epsilons=[0.1], samples=50, defense="bit-depth", defense_settings={"bits": 2}
    )
    metric.prepare(run)
    result = robust_accuracy(run, "fastrobgan/fgsm", [0.1], samples=50, defense="bit-depth", defense_settings={"bits": 2})
    assert metric.score_run(run)["accuracy_0.1"] == result.accuracy["0.1"]
    assert metric.protocol()["defense"] == result.protocol["defense"]


def test_a_defense_is_prepared_with_the_run(run: Run) -> None:
    defense = build_defense(run, "quiet", {}, where="x")
    assert isinstance(defense, Quiet)
    assert defense.runs == [run]
    assert not defense.training


@pytest.mark.parametrize(
    ("defense", "settings", "words"),
    [
        ("bit-dept", {}, "did you mean 'bit-depth'|did you mean 'standard/bit-depth'"),
        ("bit-depth", {"bits": 9}, r"\(standard/bit-depth\).*bits"),
        ("bit-depth", {"sees": "all"}, r"\(standard/bit-depth\).*sees"),
        ("blind", {}, "Blind passes no gradient to an attacker who sees 'through'; let it see a substitute"),
        ("cropping", {}, r"Cropping makes images of shape \(\d+, 1, 4, 4\) of \(\d+, 1, 8, 8\); it must keep the shape"),
    ],
)
def test_what_does_not_defend_is_refused(run: Run, defense: str, settings: dict[str, Any], words: str) -> None:
    with pytest.raises(GancoreError, match=words) as raised:
        robust_accuracy(run, "fastrobgan/fgsm", [0.1], samples=20, defense=defense, defense_settings=settings)
    assert len(str(raised.value)) <= 400


def test_a_blind_defense_is_attacked_through_its_substitute(run: Run) -> None:
    result = robust_accuracy(
        run, "fastrobgan/fgsm", [0.3], samples=100, defense="blind", defense_settings={"sees": "substitute"}
    )
    assert result.accuracy["0.3"] < result.natural


def test_settings_without_a_defense_are_refused() -> None:
    with pytest.raises(GancoreError, match="name it by defense"):
        RobustAccuracy(attack="fastrobgan/pgd", epsilons=[0.1], defense_settings={"bits": 2})


def test_undefended_scores_are_those_of_before() -> None:
    first = robust_accuracy(trained(), "fastrobgan/pgd", [0.1], samples=60)
    again = robust_accuracy(run_like(), "fastrobgan/pgd", [0.1], samples=60, defense=None)
    assert (first.natural, first.accuracy, first.lipschitz) == (again.natural, again.accuracy, again.lipschitz)


def run_like() -> Run:
    built = run_of(base=CLASSIFIER)
    built.networks["classifier"].load_state_dict(trained().networks["classifier"].state_dict())
    return built

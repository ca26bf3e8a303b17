"""The losses, schedules and the loop: parity with the authors' code, independent computations, gradients."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from gancore_dsgan.loops import SemiSupervised as Rounds
from gancore_dsgan.losses import Confidence, FeatureMatching, PullAway, SemiSupervised, entropy
from gancore_dsgan.variational import VariationalEntropy
from gancore_standard.schedules import linear
from scipy import stats
from scipy.special import log_softmax, logsumexp, softmax
from torch import Tensor
from torch.nn import functional as F

from gancore.plan.load import make_plan
from gancore.recipe.recipe import read
from gancore.registry import registry

Load = Callable[[str], dict[str, Any]]


class Stage:
    """The stand-in networks of the parity vectors, in double precision."""

    def __init__(self, vectors: dict[str, Any]) -> None:
        self.vectors = {name: torch.as_tensor(value) for name, value in vectors.items()}

    def _linear(self, name: str, x: Tensor) -> Tensor:
        return F.linear(x, self.vectors[f"{name}_weight"], self.vectors[f"{name}_bias"])

    def features(self, x: Tensor) -> Tensor:
        return F.relu(self._linear("cl_a", x))

    def logits(self, x: Tensor) -> Tensor:
        return self._linear("cl_o", self.features(x))

    @property
    def fake(self) -> Tensor:
        return torch.tanh(self._linear("ge_g", self.vectors["z"]))

    def all(self) -> dict[str, Tensor]:
        """Return what the classifier's loss asks for: labeled, unlabeled and generated images."""
        return {
            "labelled_classifier": self.logits(self.vectors["x_lab"]),
            "labelled_label": self.vectors["y_lab"],
            "real_classifier": self.logits(self.vectors["x_d"]),
            "fake_classifier": self.logits(self.fake),
        }


def close(loss: Tensor, expected: Any) -> None:
    assert loss.shape == ()
    assert loss.item() == pytest.approx(float(expected), rel=1e-9)


def test_the_classifiers_loss_agrees_with_the_authors_code_term_by_term(parity: Load) -> None:
    stage = Stage(parity("dsgan"))
    arguments, want = stage.all(), stage.vectors
    close(SemiSupervised(adversarial=1.0, entropy=0.1).classifier(**arguments), want["c_loss_lgan1_le0_1"])
    labeled = SemiSupervised(adversarial=0.0).classifier(**arguments)
    close(labeled, want["lab_loss"])
    close(SemiSupervised().classifier(**arguments) - labeled, want["unl_loss"])
    close(SemiSupervised(adversarial=3.0).classifier(**arguments) - labeled, 3 * want["unl_loss"])
    close(SemiSupervised(adversarial=0.0, entropy=2.0).classifier(**arguments) - labeled, 2 * want["entropy"])
    close(entropy(arguments["real_classifier"]), want["entropy"])
    # The two halves: with logits of -1e9 for the other side, that side costs nothing or does not depend on these.
    never = torch.full_like(arguments["fake_classifier"], -1e9)
    close(SemiSupervised().classifier(**{**arguments, "fake_classifier": never}) - labeled, want["true_loss"])
    surely = torch.full_like(arguments["real_classifier"], 1e9)
    close(SemiSupervised().classifier(**{**arguments, "real_classifier": surely}) - labeled, want["fake_loss"])


def test_pull_away_agrees_with_the_authors_code(parity: Load) -> None:
    stage = Stage(parity("dsgan"))
    close(PullAway().generator(fake_classifier_features=stage.features(stage.fake)), stage.vectors["pullaway"])


def test_the_bound_of_the_entropy_is_the_likelihood_of_the_latents_but_for_a_constant() -> None:
    torch.manual_seed(0)
    bound = VariationalEntropy(channels=1, image_size=8, latent_dim=3, width=0.05).double().eval()
    images, z = torch.randn(5, 1, 8, 8, dtype=torch.float64), torch.randn(5, 3, dtype=torch.float64)
    mean, log_deviation = bound.encoder(images).detach().chunk(2, dim=1)
    likelihood = stats.norm.logpdf(z.numpy(), mean.numpy(), log_deviation.exp().numpy()).sum(1).mean()
    close(bound.generator(fake=images, z=z), -likelihood - 3 * math.log(2 * math.pi) / 2)


def test_the_bound_falls_where_images_tell_their_latents() -> None:
    torch.manual_seed(0)
    telling, mute = (VariationalEntropy(channels=1, image_size=8, latent_dim=2, width=0.05) for _ in range(2))
    reached = []
    for bound, share in ((telling, 1.0), (mute, 0.0)):
        optimizer = torch.optim.Adam(bound.parameters(), lr=1e-2)
        for _ in range(150):
            z = torch.rand(32, 2) * 2 - 1
            loss = bound.generator(fake=share * z.sum(1)[:, None, None, None].expand(32, 1, 8, 8).clone(), z=z)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        reached.append(loss.item())
    assert reached[0] < reached[1] - 0.2


@pytest.mark.parametrize(("vector", "rate", "floor"), [("lr_svhn_d", 4e-3, 4e-4), ("lr_svhn_gc", 1e-3, 1e-4)])
def test_the_learning_rates_of_svhn_are_those_of_the_authors_code(parity: Load, vector: str, rate: float, floor: float) -> None:
    """The rate is lr max(floor / lr, min(3 (1 - epoch / 1000), 1)), an epoch being three iterations here."""
    expected = parity("dsgan")[vector]
    factor = linear(iterations=3000, start=2000, floor=floor / rate)
    np.testing.assert_allclose([rate * factor(3 * epoch) for epoch in range(1000)], expected, rtol=1e-12)
    # An epoch as one iteration starts a third of an epoch late.
    factor = linear(iterations=1000, start=667, floor=floor / rate)
    np.testing.assert_allclose([rate * factor(epoch) for epoch in range(1000)], expected, rtol=4e-3)


@pytest.mark.parametrize(("player", "vector"), [("discriminator", "lr_svhn_d"), ("generator", "lr_svhn_gc")])
def test_the_recipe_for_svhn_has_these_rates(parity: Load, player: str, vector: str) -> None:
    recipe = read("dsgan/svhn-semi", registry())
    for name in {player, "classifier"} if player == "generator" else {player}:
        plan = make_plan(recipe, registry())
        settings, factor = plan.optimizers[name].settings, plan.factors(f"optimizers.{name}")["lr"]
        epochs = recipe.run.iterations // 1000
        rates = [settings["lr"] * factor(epochs * epoch) for epoch in range(1000)]
        np.testing.assert_allclose(rates, parity("dsgan")[vector], rtol=1e-12)
        assert settings["betas"] == ((0.5, 0.9999) if name == "classifier" else (0.5, 0.9))


def drawn(seed: int = 0, rows: int = 7, classes: int = 5) -> dict[str, Tensor]:
    rng = np.random.default_rng(seed)
    arguments: dict[str, Any] = {
        f"{side}_classifier": rng.normal(0, 3, (rows, classes)) for side in ("labelled", "real", "fake")
    }
    arguments["labelled_label"] = rng.integers(0, classes, rows)
    return {name: torch.as_tensor(value) for name, value in arguments.items()}


def test_the_further_class_has_the_logit_0() -> None:
    """Equation 4, with an explicit class K + 1; the authors' code has half the weight of what is not labeled."""
    arguments = drawn()

    def with_further(name: str) -> np.ndarray:
        logits = arguments[name].numpy()
        return log_softmax(np.concatenate([logits, np.zeros((len(logits), 1))], axis=1), axis=1)

    known = logsumexp(with_further("real_classifier")[:, :-1], axis=1).mean()
    further = with_further("fake_classifier")[:, -1].mean()
    labels = arguments["labelled_label"].numpy()
    labeled = -log_softmax(arguments["labelled_classifier"].numpy(), axis=1)[np.arange(len(labels)), labels].mean()
    p = softmax(arguments["real_classifier"].numpy(), axis=1)
    for adversarial in (1.0, 2.0):
        for weight in (0.0, 0.3):
            loss = SemiSupervised(adversarial=adversarial, entropy=weight).classifier(**arguments)
            expected = labeled - adversarial * (known + further) / 2 + weight * stats.entropy(p, axis=1).mean()
            assert loss.item() == pytest.approx(expected, rel=1e-6)


def test_the_entropy_is_0_for_certain_and_log_k_for_even_classes_and_never_breaks() -> None:
    even = torch.full((3, 7), 5.0, dtype=torch.float64)
    assert entropy(even).item() == pytest.approx(math.log(7), abs=1e-6)
    certain = torch.tensor([[1e4, -1e4, 0.0]], requires_grad=True)
    value = entropy(certain)
    assert value.item() == pytest.approx(0, abs=1e-6)
    value.backward()
    assert certain.grad is not None
    assert certain.grad.isfinite().all()
    logits = drawn()["real_classifier"]
    p = softmax(logits.numpy(), axis=1)
    assert entropy(logits).item() == pytest.approx(stats.entropy(p, axis=1).mean(), abs=1e-6)
    assert torch.equal(Confidence().classifier(fake_classifier=logits), entropy(logits))


def test_the_losses_stay_finite_for_any_logits() -> None:
    for size in (1e4, -1e4):
        arguments = {name: value.float() for name, value in drawn().items() if value.is_floating_point()}
        arguments = {name: (value.sign() * size).requires_grad_() for name, value in arguments.items()}
        loss = SemiSupervised(entropy=0.1).classifier(**arguments, labelled_label=torch.zeros(7, dtype=torch.int64))
        loss.backward()
        assert loss.isfinite()
        assert all(value.grad is not None and value.grad.isfinite().all() for value in arguments.values())


def test_pull_away_is_the_mean_squared_cosine_of_different_images() -> None:
    features = torch.as_tensor(np.random.default_rng(0).normal(size=(6, 4)))
    term = PullAway()
    rows = features.numpy() / np.linalg.norm(features.numpy(), axis=1, keepdims=True)
    expected = np.mean([(rows[i] @ rows[j]) ** 2 for i in range(6) for j in range(6) if i != j])
    assert term.generator(fake_classifier_features=features).item() == pytest.approx(expected, rel=1e-12)
    assert term.generator(fake_classifier_features=7 * features).item() == pytest.approx(expected, rel=1e-12)
    assert term.generator(fake_classifier_features=torch.eye(4)).item() == pytest.approx(0, abs=1e-7)
    assert term.generator(fake_classifier_features=torch.ones(4, 3)).item() == pytest.approx(1, rel=1e-6)
    single = torch.randn(1, 3, requires_grad=True)
    value = term.generator(fake_classifier_features=single)
    value.backward()
    assert value.item() == pytest.approx(0, abs=1e-6)
    # Features of a rectifier may all be 0.
    dead = torch.zeros(3, 4, requires_grad=True)
    value = term.generator(fake_classifier_features=dead)
    value.backward()
    assert value.item() == 0
    assert dead.grad is not None
    assert dead.grad.isfinite().all()


def test_feature_matching_is_the_mean_absolute_or_squared_difference_of_mean_features() -> None:
    real, fake = (torch.as_tensor(np.random.default_rng(seed).normal(size=(6, 4))) for seed in (0, 1))
    loss = FeatureMatching().generator(real_classifier_features=real, fake_classifier_features=fake)
    expected = np.abs(real.numpy().mean(0) - fake.numpy().mean(0)).mean()
    assert loss.item() == pytest.approx(expected, rel=1e-12)
    squared = FeatureMatching(squared=True).generator(real_classifier_features=real, fake_classifier_features=fake)
    assert squared.item() == pytest.approx(((real - fake).numpy().mean(0) ** 2).mean(), rel=1e-12)
    same = FeatureMatching().generator(real_classifier_features=real, fake_classifier_features=real.flip(0))
    assert same.item() == pytest.approx(0, abs=1e-12)


def test_gradients_agree_with_finite_differences() -> None:
    arguments = drawn(1)
    label = arguments.pop("labelled_label")

    def semi(*values: Tensor) -> Tensor:
        return SemiSupervised(adversarial=0.7, entropy=0.3).classifier(
            **dict(zip(arguments, values, strict=True)), labelled_label=label
        )

    assert torch.autograd.gradcheck(semi, [value.requires_grad_() for value in arguments.values()])
    features = [torch.randn(4, 3, dtype=torch.float64, requires_grad=True) for _ in range(2)]
    assert torch.autograd.gradcheck(lambda x: PullAway().generator(fake_classifier_features=x), features[:1])
    assert torch.autograd.gradcheck(
        lambda a, b: FeatureMatching().generator(real_classifier_features=a, fake_classifier_features=b), features
    )
    assert torch.autograd.gradcheck(lambda x: Confidence().classifier(fake_classifier=x), features[:1])


def test_a_step_down_each_loss_does_what_it_is_for() -> None:
    """Known classes for real images, the further one for generated ones; and certain classes."""
    arguments = {name: value.requires_grad_() if value.is_floating_point() else value for name, value in drawn(2).items()}
    SemiSupervised().classifier(**arguments).backward()
    moved = {name: value - 0.5 * value.grad for name, value in arguments.items() if value.grad is not None}
    known = {name: torch.logsumexp(value, 1) for name, value in moved.items()}
    assert (known["real_classifier"] > torch.logsumexp(arguments["real_classifier"], 1)).all()
    assert (known["fake_classifier"] < torch.logsumexp(arguments["fake_classifier"], 1)).all()
    x = drawn(3)["fake_classifier"].requires_grad_()
    value = Confidence().classifier(fake_classifier=x)
    value.backward()
    assert x.grad is not None
    assert Confidence().classifier(fake_classifier=x - 0.5 * x.grad) < value


class Recorded:
    """Stands in for a run: which phases are asked for, on which batch."""

    def __init__(self) -> None:
        self.iteration = 0
        self.batches = 0
        self.asked: list[tuple[str, int]] = []

    def fresh(self) -> int:
        self.batches += 1
        return self.batches

    def phase(self, player: str, batch: int) -> None:
        self.asked.append((player[0], batch))


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, ["dgc", "dgc", "dgc", "dgc"]),
        ({"game_every": 3}, ["dgc", "c", "c", "dgc"]),
        ({"critic_steps": 2, "game_every": 2}, ["ddgc", "c", "ddgc", "c"]),
        ({"critic_steps": 0}, ["gc", "gc", "gc", "gc"]),
    ],
)
def test_the_loops_turns_each_with_a_batch_of_its_own(settings: dict[str, int], expected: list[str]) -> None:
    loop, run = Rounds(**settings), Recorded()
    turns = []
    for run.iteration in range(4):
        run.asked = []
        loop.iteration(run)  # type: ignore[arg-type]
        turns.append("".join(player for player, _ in run.asked))
        batches = [batch for _, batch in run.asked]
        assert len(set(batches)) == len(batches)
    assert turns == expected
    assert set("".join(turns)) == {player[0] for player in loop.players}

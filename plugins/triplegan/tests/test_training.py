"""The recipes: which pairs the discriminator sees, what moves whom, that they resume and learn from few labels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from gancore_training import TrainingRun, checkpoint
from torch import Tensor
from torch.nn import functional as F

from gancore import GancoreError
from gancore.tools import make_plan, read, registry
from tests.compose.hosts import CPU, same, steps

TINY = (
    "run.batch_size=20",
    "run.precision=float32",
    "loop.generated=24",
    "losses.game.start=0",
    "losses.confidence.start=0",
    "losses.before=false",
    "losses.generated.start=0",
    "networks.generator.hidden=16",
    "networks.discriminator.width=0.05",
    "metrics=false",
)
CONVOLUTIONS = (
    "data.use=standard/digits",
    "data.image_size=24",
    "run.batch_size=12",
    "run.precision=float32",
    "samplers.labels.count=3",
    "networks.generator.width=0.02",
    "networks.classifier.width=0.0625",
    "networks.discriminator.width=0.25",
    "losses.generated.start=0",
    "metrics=false",
)
KINDS = {
    "digits": TINY,
    "svhn-semi": (*CONVOLUTIONS, "loop.generated=12"),
    "cifar10-semi": (*CONVOLUTIONS, "loop.generated=16"),
}


def run_of(name: str, *texts: str) -> TrainingRun:
    recipe = read(f"triplegan/{name}", registry(), assignments=[*KINDS[name], *texts])
    return TrainingRun(make_plan(recipe, registry()), CPU)


def seen_by(module: torch.nn.Module) -> list[tuple[Tensor, ...]]:
    seen: list[tuple[Tensor, ...]] = []
    module.register_forward_hook(lambda _module, inputs, _output: seen.append(tuple(x.detach().clone() for x in inputs)))
    return seen


def test_the_discriminator_sees_labeled_pairs_the_classifiers_and_the_generators() -> None:
    run, twin = run_of("digits"), run_of("digits")
    seen = seen_by(run.networks["discriminator"])
    steps(run, 1)
    batch = twin.fresh()
    latents = [twin.renew(batch, 24) for _ in range(3)]
    with torch.no_grad():
        labels = twin.networks["classifier"].eval()(batch.real).argmax(1)
        made = [twin.networks["generator"](each.z, each.fake_label) for each in latents[:1]]
    images, given = seen[0]
    # Generated ones with the labels that they were made of; labeled ones with theirs; the data's with the classifier's.
    assert torch.equal(images, torch.cat([made[0], batch.sides["labelled"][0], batch.real]))
    assert torch.equal(given, torch.cat([latents[0].fake_label, batch.sides["labelled"][1], labels]))
    assert not torch.equal(labels, batch.real_label)
    # The generator's turn is about its own pairs, with latents of their own, the classifier's about the guessed ones.
    assert torch.equal(seen[1][1], latents[1].fake_label)
    assert torch.equal(seen[2][0], batch.real)
    assert torch.equal(seen[2][1], labels)
    assert len(seen) == 3


def test_labels_of_the_unlabeled_images_decide_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    run, other = run_of("digits"), run_of("digits")
    fresh = other.fresh

    def mislabeled() -> Any:
        batch = fresh()
        batch.real_label = (batch.real_label + 1) % 10
        return batch

    monkeypatch.setattr(other, "fresh", mislabeled)
    assert same(steps(run, 3), steps(other, 3)) == []


def test_the_classifiers_turn_is_the_sum_that_the_paper_writes() -> None:
    run, twin = run_of("digits"), run_of("digits")
    answers: list[Tensor] = []
    run.heads["adversarial"].register_forward_hook(lambda _module, _inputs, output: answers.append(output.detach().clone()))
    steps(run, 1)
    with torch.no_grad():
        batch = twin.fresh()
        classifier = twin.networks["classifier"]
        guessed = classifier.eval()(batch.real).argmax(1)
        classifier.train()
        images, labels = batch.sides["labelled"]
        # The generator has moved in its turn before, so that its network is the run's.
        latents = [twin.renew(batch, 24) for _ in range(3)][2]
        made = run.networks["generator"](latents.z, latents.fake_label)
        logits = classifier(batch.real)
        p = logits.softmax(1)
        likely = p.gather(1, guessed[:, None])[:, 0]
        confidence = -0.3 * (p * p.log()).sum(1).mean() - 1e-3 * p.mean(0).log().mean()
        expected = {
            "labels": F.cross_entropy(classifier(images), labels),
            "generated": F.cross_entropy(classifier(made), latents.fake_label),
            "confidence": confidence,
            "game": -0.5 * (likely * torch.sigmoid(answers[2]).log()).mean(),
        }
    losses = {label: float(run.losses[f"classifier/{label}"]) for label in expected}
    assert losses == pytest.approx({label: float(loss) for label, loss in expected.items()}, rel=1e-3)
    weights = {label: float(run.parts.weights[label]) for label in run.plan.terms}
    assert weights == pytest.approx({"labels": 1, "generated": 0.1, "confidence": 1, "game": 1})


@pytest.mark.parametrize("name", KINDS)
def test_a_recipe_trains_and_resumes_to_the_last_bit(name: str, tmp_path: Path) -> None:
    whole, half, again = (run_of(name) for _ in range(3))
    before = {player: [p.detach().clone() for p in whole.players[player].parameters] for player in whole.players}
    steps(whole, 4)
    checkpoint.save(steps(half, 2), tmp_path)
    checkpoint.load(again, checkpoint.checkpoints(tmp_path)[-1])
    assert same(whole, steps(again, 2)) == []
    for player, parameters in before.items():
        assert any(not torch.equal(a, b) for a, b in zip(parameters, whole.players[player].parameters, strict=True)), player


def test_the_classifier_learns_from_images_without_labels() -> None:
    def accuracy(*texts: str) -> float:
        faster = [f"optimizers.{player}.schedule.use=constant" for player in ("generator", "discriminator", "classifier")]
        run = run_of("digits", "run.batch_size=30", "loop.generated=30", *faster, *texts)
        steps(run, 60)
        images, labels = run.plan.dataset.load("test")
        with torch.no_grad():
            guesses = run.networks["classifier"].eval()(images.float() / 127.5 - 1).argmax(1)
        return float((guesses == labels).float().mean())

    alone = accuracy("losses.confidence=false", "losses.generated=false", "losses.game.classifier=0")
    assert accuracy() > alone + 0.03


@pytest.mark.parametrize(
    ("texts", "pieces"),
    [
        (("loop.use=dsgan/semi-supervised",), ["asks for 'guessed_", "which nothing in this recipe provides"]),
        (("sources.labelled=false", "samplers.labels=false"), ["labelled_adversarial"]),
        (("sources.guessed={}",), ["the label 'guessed' is taken"]),
        (("networks.generator.use=standard/mlp-generator",), ["judges images by labels that", "ignores"]),
    ],
)
def test_what_would_be_another_game_is_refused(texts: tuple[str, ...], pieces: list[str]) -> None:
    with pytest.raises(GancoreError) as refused:
        TrainingRun(make_plan(read("triplegan/digits", registry(), assignments=texts), registry()), CPU)
    assert all(piece in str(refused.value) for piece in pieces), str(refused.value)
    assert len(str(refused.value)) <= 400

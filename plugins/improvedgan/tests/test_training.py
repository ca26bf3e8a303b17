"""The recipes: they train and resume, learn from few labels, and what can't be is refused in a sentence."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from gancore_training import TrainingRun, checkpoint

from gancore import GancoreError
from gancore.tools import make_plan, read, registry
from tests.compose.hosts import CPU, same, steps

SEMI = ("data.use=standard/digits", "run.batch_size=16", "run.precision=float32", "samplers.labels.count=3", "metrics=false")
KINDS = {
    "mnist-semi-small": (*SEMI, "networks.discriminator.width=0.05", "networks.generator.hidden=16"),
    "mnist-labels-small": (*SEMI, "networks.discriminator.width=0.05", "networks.generator.hidden=16"),
    "cifar10-semi-minibatch": (
        *SEMI,
        "data.image_size=16",
        "networks.discriminator.maps=[8, 8, 8, 8, 8]",
        "networks.generator.width=0.02",
    ),
    "digits-semi": (*SEMI, "networks.discriminator.width=0.05", "networks.generator.hidden=16"),
    "digits-semi-minibatch": (*SEMI, "networks.discriminator.width=0.05", "networks.generator.hidden=16"),
    "digits": ("run.batch_size=8", "networks.generator.width=0.1", "networks.discriminator.width=0.1"),
}


def run_of(name: str, *texts: str, layers: tuple[str, ...] = ()) -> TrainingRun:
    recipe = read(f"improvedgan/{name}", registry(), overlays=layers, assignments=[*KINDS[name], *texts])
    return TrainingRun(make_plan(recipe, registry()), CPU)


@pytest.mark.parametrize("name", KINDS)
def test_a_recipe_trains_and_resumes_to_the_last_bit(name: str, tmp_path: Path) -> None:
    whole, half, again = (run_of(name) for _ in range(3))
    steps(whole, 4)
    checkpoint.save(steps(half, 2), tmp_path)
    checkpoint.load(again, checkpoint.checkpoints(tmp_path)[-1])
    assert same(whole, steps(again, 2)) == []


def test_historical_averaging_changes_nothing_in_the_first_turns_and_then_pulls_back(tmp_path: Path) -> None:
    def distance(weight: float) -> float:
        run = run_of("digits", f"losses.history.weight={weight}", layers=("improvedgan/historical-averaging",))
        start = [parameter.detach().clone() for parameter in run.players["discriminator"].parameters]
        steps(run, 30)
        ends = run.players["discriminator"].parameters
        return sum((one - two).square().sum().item() for one, two in zip(start, ends, strict=True))

    assert distance(10.0) < 0.9 * distance(1e-9)


def test_historical_averaging_from_a_later_iteration_on_knows_nothing_of_those_before() -> None:
    run = run_of("digits", "losses.history.start=2", layers=("improvedgan/historical-averaging",))
    weights, seen = run.players["generator"].weights[0], []
    for _ in range(4):
        seen.append(weights.detach().clone())
        steps(run, 1)
    mean = torch.stack([*seen[2:], weights.detach()]).mean(0)
    torch.testing.assert_close(run.terms["history"].get_buffer("generator_0"), mean)


def test_the_discriminator_learns_classes_from_what_has_no_labels_too() -> None:
    def accuracy(*texts: str) -> float:
        faster = [f"optimizers.{player}.schedule.use=constant" for player in ("generator", "discriminator")]
        run = run_of("mnist-semi-small", "run.batch_size=50", "networks.discriminator.width=0.2", *faster, *texts)
        steps(run, 200)
        images, labels = run.plan.dataset.load("test")
        discriminator, head = run.networks["discriminator"].eval(), run.heads["classes"].eval()
        with torch.no_grad():
            guesses = head(discriminator(images.float() / 127.5 - 1), labels).argmax(1)
        return float((guesses == labels).float().mean())

    assert accuracy() > 0.7


def test_its_generator_matches_features_and_the_semi_supervised_loss_is_the_discriminators() -> None:
    run = steps(run_of("mnist-semi-small"), 1)
    assert set(run.losses) == {"discriminator/semi", "generator/matching"}
    run = steps(run_of("cifar10-semi-minibatch"), 1)
    assert set(run.losses) == {"discriminator/semi", "generator/semi"}


@pytest.mark.parametrize(
    ("name", "texts", "pieces"),
    [
        ("mnist-semi-small", ("sources.labelled=false", "samplers.labels=false"), ["losses.semi", "labelled_classes"]),
        ("mnist-semi-small", ("heads.classes=false",), ["losses.semi", "_classes"]),
        ("mnist-semi-small", ("losses.semi.adversarial=-1",), ["adversarial must be a number at least 0, not -1"]),
        ("mnist-semi-small", ("losses.matching.distance=cubed",), ["distance", "cubed"]),
        (
            "digits",
            ("losses.adversarial.use=standard/hinge", "losses.adversarial.real_target=0.9"),
            ["no setting 'real_target'"],
        ),
        ("digits", ("losses.adversarial.real_target=1.1",), ["real_target must be a number in (0, 1], not 1.1"]),
        ("digits", ("heads.adversarial.kernels=0",), ["kernels must be a whole number at least 1, not 0"]),
        ("digits", ("heads.adversarial.scale=0",), ["scale"]),
        ("digits", ("networks.generator.reference=1",), ["reference must be a whole number at least 2, not 1"]),
    ],
)
def test_a_bad_recipe_is_refused_in_a_sentence(name: str, texts: tuple[str, ...], pieces: list[str]) -> None:
    with pytest.raises(GancoreError) as caught:
        run_of(name, *texts)
    text = str(caught.value)
    assert "\n" not in text
    for piece in pieces:
        assert piece in text, text

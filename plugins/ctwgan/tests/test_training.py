"""The recipes: they train and resume, two passes are seen, and what can't be is refused in a sentence."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from gancore_ctwgan.critic_gap import CriticGap
from gancore_training import TrainingRun, checkpoint

from gancore import GancoreError
from gancore.tools import make_plan, read, registry
from tests.compose.hosts import CPU, same, steps

SEMI = ("data.use=standard/digits", "run.batch_size=16", "run.precision=float32", "samplers.labels.count=3", "metrics=false")
KINDS = {
    "digits-50": (
        "data.use=standard/digits",
        "data.image_size=8",
        "run.evaluate_every=0",
        "samplers.few.count=10",
        "run.batch_size=8",
        "networks.annotator=false",
        "networks.generator.width=0.1",
        "metrics=false",
    ),
    "mnist-semi-small": (*SEMI, "networks.discriminator.width=0.05", "networks.generator.hidden=16"),
    "cifar10-semi": (
        *SEMI,
        "data.image_size=16",
        "networks.discriminator.maps=[8, 8, 8, 8, 8]",
        "networks.generator.width=0.02",
        "losses.consistency.width=8",
        "losses.consistency.slots=4096",
    ),
}


def run_of(name: str, *texts: str) -> TrainingRun:
    recipe = read(f"ctwgan/{name}", registry(), assignments=[*KINDS[name], *texts])
    return TrainingRun(make_plan(recipe, registry()), CPU)


@pytest.mark.parametrize("name", KINDS)
def test_a_recipe_trains_and_resumes_to_the_last_bit(name: str, tmp_path: Path) -> None:
    whole, half, again = (run_of(name) for _ in range(3))
    steps(whole, 4)
    checkpoint.save(steps(half, 2), tmp_path)
    checkpoint.load(again, checkpoint.checkpoints(tmp_path)[-1])
    assert same(whole, steps(again, 2)) == []


def test_the_critic_sees_each_real_image_twice() -> None:
    run = run_of("digits-50", "loop.discriminator_steps=1")
    seen: list[torch.Tensor] = []
    run.networks["discriminator"].register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].detach().clone()))
    batch = run.fresh()
    run.phase("discriminator", batch)
    matches = [sum(torch.equal(row, image) for row in torch.cat(seen)) for image in batch.real]
    # An image may be in the batch twice.
    assert min(matches) == 2
    assert run.losses["discriminator/consistency"] > 0


def test_dropout_is_what_makes_the_term() -> None:
    run = steps(run_of("digits-50", "networks.discriminator.dropout=0"), 1)
    assert run.losses["discriminator/consistency"] == 0
    with pytest.raises(GancoreError, match="does nothing"):
        run.terms["consistency"].monitor()


def test_temporal_ensembling_starts_when_images_come_again() -> None:
    run = run_of("cifar10-semi", "run.batch_size=500", "data.flip=false", "networks.discriminator.input_dropout=0.0")
    first = [float(steps(run, 1).losses["discriminator/consistency"]) for _ in range(4)]
    # 1,442 images fill 2.9 batches.
    assert first[:2] == [0, 0]
    assert first[3] > 0
    # Of two new images that want one place in the same batch one waits for its next pass.
    assert int((run.terms["consistency"].keys != 0).sum()) > 1350


def test_a_critic_that_knows_its_images_by_heart_has_a_gap() -> None:
    run = run_of("digits-50", "networks.discriminator.dropout=0", "losses.consistency=false")
    metric = CriticGap(images=100)
    metric.prepare(run)
    values = metric.score_run(run)
    train = run.batches.selection[0]
    test, _ = run.plan.dataset.load("test")
    train, test = (x[torch.arange(100) * len(x) // 100] for x in (train, test))
    with torch.no_grad():
        means = [
            float(run.heads["adversarial"](run.networks["discriminator"](x.float() / 127.5 - 1), None).double().mean())
            for x in (train, test)
        ]
    assert values["gap"] == pytest.approx(means[0] - means[1], abs=1e-6)
    assert values["share"] == pytest.approx(values["gap"] / values["distance"])
    with pytest.raises(GancoreError, match="no head 'logit'"):
        CriticGap(head="logit").prepare(run)


def test_a_critic_that_looks_at_labels_is_given_those_of_the_images() -> None:
    conditional = ("heads.adversarial.use=standard/projection", "networks.generator.use=standard/sndcgan-generator")
    run = run_of(
        "digits-50",
        "losses.consistency=false",
        "networks.discriminator.dropout=0",
        *conditional,
        "networks.generator.conditional=true",
    )
    values = CriticGap(images=30).score_run(run)
    (train, train_label, _), (test, test_label) = run.batches.selection, run.plan.dataset.load("test")
    latents = run.latent(30, "critic-gap")
    sides = [
        (x[torch.arange(30) * len(x) // 30].float() / 127.5 - 1, y[torch.arange(30) * len(x) // 30])
        for x, y in ((train, train_label), (test, test_label))
    ]
    means = []
    with torch.no_grad():
        for x, y in (*sides, (run.generate(latents), latents.label)):
            means.append(float(run.heads["adversarial"](run.networks["discriminator"](x), y).double().mean()))
    assert values["gap"] == pytest.approx(means[0] - means[1], abs=1e-6)
    assert values["distance"] == pytest.approx(means[0] - means[2], abs=1e-6)


def test_a_critic_is_scored_by_what_it_sees() -> None:
    blocked = "samplers.blocked={use='ambientgan/block-pixels',probability=0.999999,rescale=false}"
    values = CriticGap(images=30).score_run(run_of("digits-50", "networks.discriminator.dropout=0", blocked))
    # Of images all of whose pixels are blocked it can tell none from another.
    assert values["gap"] == pytest.approx(0, abs=1e-6)
    assert values["distance"] == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("recipe", ["amgan/digits", "sdgan/digits"])
def test_what_gives_no_logit_of_each_image_is_no_critic(recipe: str) -> None:
    small = ["networks.annotator=false", "metrics=false", "run.batch_size=8"]
    run = TrainingRun(make_plan(read(recipe, registry(), assignments=small), registry()), CPU)
    (head,) = run.heads
    with pytest.raises(GancoreError, match=rf"^heads\.{head} gives no logit of each image"):
        CriticGap(head=head).prepare(run)


@pytest.mark.parametrize(
    ("name", "texts", "pieces"),
    [
        ("digits-50", ("losses.consistency.margin=-1",), ["margin must be a number at least 0, not -1"]),
        ("digits-50", ("networks.discriminator.dropout=1",), ["dropout"]),
        ("digits-50", ("heads.adversarial=false",), ["_adversarial"]),
        ("mnist-semi-small", ("heads.classes=false",), ["_classes"]),
        ("cifar10-semi", ("losses.consistency.slots=2",), ["slots"]),
        ("cifar10-semi", ("losses.consistency.decay=0.99999999",), ["decay must be a number in [0, 0.9999]"]),
    ],
)
def test_a_bad_recipe_is_refused_in_a_sentence(name: str, texts: tuple[str, ...], pieces: list[str]) -> None:
    with pytest.raises(GancoreError) as caught:
        run_of(name, *texts)
    text = str(caught.value)
    assert "\n" not in text
    for piece in pieces:
        assert piece in text, text

"""The recipes' mechanics, small: they train, resume to the last bit, train what they need first, and refuse bad input."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner, Result
from gancore_dsgan.loops import SemiSupervised
from gancore_dsgan.nearest import as_ideal
from gancore_standard.explain import explain
from gancore_training import TrainingRun, checkpoint
from gancore_training.evaluate import Evaluator
from gancore_training.prerequisites import training_recipe, wanted
from gancore_training.sampling import sample
from gancore_training.trainer import train
from torch import Tensor
from torch.nn import functional as F

from gancore import GancoreError
from gancore.cli.main import main
from gancore.engine.run import Run
from gancore.engine.values import Batch
from gancore.plan.load import make_plan
from gancore.recipe.recipe import read
from gancore.registry import registry
from gancore.testing import NoSynchronization, gradients_elsewhere
from gancore.tools import evaluating, load_split, to_unit
from tests.compose.hosts import CPU, same, steps

PLANE = (
    "run.iterations=6",
    "run.batch_size=32",
    "run.log_every=2",
    "run.sample_every=3",
    "run.checkpoint_every=3",
    "run.evaluate_every=3",
    "run.keep_checkpoints=0",
    "data.samples=400",
    "networks.generator.hidden=16",
    "networks.discriminator.hidden=16",
    "evaluation.samples=64",
)
SEMI = (
    "run.batch_size=20",
    "run.precision=float32",
    "data.use=standard/digits",
    "networks.generator.hidden=16",
    "networks.classifier.width=0.05",
)
CRITIC = ("networks.discriminator.width=0.1",)
DIGITS = ("run.iterations=2", "run.batch_size=8", "run.precision=float32", "data.use=standard/digits", "data.image_size=8")


def run_of(name: str, *texts: str) -> TrainingRun:
    return TrainingRun(make_plan(read(name, registry(), assignments=texts), registry()), CPU)


@pytest.mark.parametrize("name", ["swiss-roll", "disc"])
def test_a_difference_in_the_plane_trains_and_resumes_to_the_last_bit(name: str, tmp_path: Path) -> None:
    recipe = read(f"dsgan/{name}", registry(), assignments=PLANE)
    whole = train(recipe, registry(), tmp_path / "whole", device=CPU)
    done = train(recipe, registry(), tmp_path / "run", device=CPU)
    assert same(whole, done) == []
    paths = checkpoint.checkpoints(tmp_path / "run")
    assert [path.name for path in paths] == ["00000003.safetensors", "00000006.safetensors"]
    last = paths[1].read_bytes()
    paths[1].unlink()
    again = train(recipe, registry(), tmp_path / "run", device=CPU, resume=True)
    assert same(whole, again) == []
    assert checkpoint.checkpoints(tmp_path / "run")[1].read_bytes() == last
    assert all(value.isfinite() for value in again.losses.values())


def test_the_roll_is_widened_and_its_points_are_avoided() -> None:
    run = run_of("dsgan/swiss-roll", *PLANE)
    batch = run.fresh()
    known = {tuple(point) for point in run.plan.dataset.load("train")[0].flatten(1).tolist()}
    assert not {tuple(point) for point in batch.real.flatten(1).tolist()} & known
    avoided, _ = batch.joined["fake"]
    assert len(avoided) == 25
    assert {tuple(point) for point in avoided.flatten(1).tolist()} <= known
    seen: list[int] = []
    run.networks["generator"].register_forward_hook(lambda _m, _i, output: seen.append(len(output)))
    run.step()
    assert seen == [32] * 6  # whole batches, of which the discriminator sees what the avoided points leave room for


def test_a_difference_in_the_plane_learns_its_boundary() -> None:
    """Points of the disc p_d against p_d with much noise: DSGAN's samples lie farther out than those of a plain GAN."""
    words = [text for text in PLANE if not text.startswith(("run.iterations", "networks", "run.batch_size"))]
    words += ["run.iterations=300", "run.batch_size=128", "samplers.difference.scale=0.3", "data.center=dense"]
    words += ["networks.generator.hidden=32", "networks.discriminator.hidden=32"]
    outside = {}
    for alpha in (0.0, 0.8):
        run = steps(run_of("dsgan/disc", *words, f"samplers.difference.alpha={alpha}"), 300)
        images, _ = sample(run, 1000, weights="live")
        outside[alpha] = (images.flatten(1).norm(dim=1) > 0.6).float().mean().item()
    assert outside[0.8] > outside[0.0] + 0.15


# -- semi-supervised learning ------------------------------------------------------------------------------------------

KINDS = {
    "critic": ("dsgan/mnist-semi", (*SEMI, *CRITIC)),
    "weighted": ("dsgan/mnist-semi-weighted", (*SEMI, *CRITIC)),
    "now and then": ("dsgan/mnist-semi", (*SEMI, *CRITIC, "loop.game_every=2", "loop.critic_steps=2")),
    "matching": ("dsgan/mnist-semi-matching", SEMI),
    "small": ("dsgan/mnist-semi-small", (*SEMI, *CRITIC)),
    "averaged": ("dsgan/mnist-semi", (*SEMI, *CRITIC, "loop.average=0.9")),
}
each = pytest.mark.parametrize("kind", KINDS)


@each
def test_semi_supervised_learning_trains_and_resumes_to_the_last_bit(kind: str) -> None:
    name, texts = KINDS[kind]
    whole = steps(run_of(name, *texts), 5)
    first = steps(run_of(name, *texts), 3)
    saved = {key: tensor.detach().clone().contiguous() for key, tensor in first.tensors().items()}
    second = run_of(name, *texts)
    second.restore(saved, first.counters())
    assert same(whole, steps(second, 2)) == []
    assert all(value.isfinite() for value in whole.losses.values())
    untrained = run_of(name, *texts)
    for player in whole.players:
        pairs = zip(whole.players[player].parameters, untrained.players[player].parameters, strict=True)
        assert any(not torch.equal(a, b) for a, b in pairs), f"the {player} has not moved"


@each
def test_semi_supervised_learning_keeps_gradients_apart_and_never_waits(kind: str) -> None:
    name, texts = KINDS[kind]
    assert gradients_elsewhere(run_of(name, *texts)) == []
    run = steps(run_of(name, *texts), 1)
    with NoSynchronization():
        run.step()


def test_the_average_is_that_of_the_classifiers_weights_after_each_iteration() -> None:
    run = run_of(*_averaged())
    parameters = list(run.networks["classifier"].parameters())
    expected = [parameter.detach().clone() for parameter in parameters]
    for _ in range(4):
        run.step()
        expected = [0.9 * mean + 0.1 * parameter.detach() for mean, parameter in zip(expected, parameters, strict=True)]
    loop = run.parts.loop
    assert isinstance(loop, SemiSupervised)
    torch.testing.assert_close(loop.averages(), expected)
    plain = steps(run_of(*_averaged("loop.average=0")), 4)
    for own, other in zip(parameters, plain.networks["classifier"].parameters(), strict=True):
        assert torch.equal(own, other)  # the average changes no training


def _averaged(*texts: str) -> tuple[str, ...]:
    name, settings = KINDS["averaged"]
    return name, *settings, *texts


def test_the_averaged_weights_are_scored_and_the_run_is_left_as_it_was() -> None:
    run = steps(run_of(*_averaged(), "metrics.averaged.use=dsgan/averaged-accuracy"), 3)
    network, loop = run.networks["classifier"], run.parts.loop
    assert isinstance(loop, SemiSupervised)
    before = [parameter.detach().clone() for parameter in network.parameters()]
    scored = Evaluator(run, ["averaged"])().values["averaged/accuracy"]
    assert all(torch.equal(own, other) for own, other in zip(before, network.parameters(), strict=True))
    images, labels = load_split(run.plan.dataset, "test")
    averaged = copy.deepcopy(network).eval()
    for parameter, mean in zip(averaged.parameters(), loop.averages(), strict=True):
        parameter.data.copy_(mean)
    with torch.no_grad():
        expected = (averaged(to_unit(images)).argmax(1) == labels).double().mean().item()
    assert scored == pytest.approx(expected)


def test_the_shares_of_eq_7_are_counted() -> None:
    run = steps(run_of(*_averaged(), "metrics.complement.use=dsgan/complement", "metrics.complement.images=100"), 1)
    network = run.networks["classifier"]
    last = [module for module in network.modules() if isinstance(module, torch.nn.Linear)][-1]
    with torch.no_grad():
        last.bias.fill_(-0.01)
        shares = Evaluator(run, ["complement"])().values
        images, _ = load_split(run.plan.dataset, "test")
        with evaluating(network):
            real = network(to_unit(images[:100])).amax(1)
            fake = network(run.generate(run.latent(100, "complement"))).amax(1)
    assert shares["complement/real_above"] == pytest.approx((real > 0).double().mean().item())
    assert shares["complement/generated_below"] == pytest.approx((fake < 0).double().mean().item())
    with torch.no_grad():
        last.bias.fill_(-100.0)
    values = Evaluator(run, ["complement"])().values
    assert (values["complement/generated_below"], values["complement/real_above"]) == (1.0, 0.0)


@pytest.mark.parametrize(
    ("name", "texts", "message"),
    [
        ("dsgan/mnist-semi", ("metrics.a.use=dsgan/averaged-accuracy",), "keeps no average"),
        ("dsgan/mnist-semi", ("metrics.a.use=dsgan/complement", "metrics.a.classifier=judge"), "trains no classifier 'judge'"),
        ("dsgan/mnist-semi", ("metrics.a.use=dsgan/nearest", "metrics.a.classifier=judge"), "no network 'judge'"),
    ],
)
def test_scores_that_the_run_can_not_give_are_refused(name: str, texts: tuple[str, ...], message: str) -> None:
    with pytest.raises(GancoreError, match=message):
        Evaluator(run_of(name, *SEMI, *CRITIC, *texts))


def test_the_labeled_images_are_the_same_few_of_each_class_and_all_are_unlabeled() -> None:
    name, texts = KINDS["critic"]
    run = run_of(name, *texts, "run.batch_size=100")
    batches = [run.fresh() for _ in range(20)]
    labeled = {tuple(x.tolist()) for batch in batches for x in batch.sides["labelled"][0].flatten(1)}
    assert len(labeled) == 100
    labels = torch.cat([batch.sides["labelled"][1] for batch in batches])
    assert torch.bincount(labels).tolist() == [200] * 10
    unlabeled = {tuple(x.tolist()) for batch in batches for x in batch.real.flatten(1)}
    assert len(unlabeled) > 1000
    another = run_of(name, *texts, "run.batch_size=100", "run.seed=1").fresh()
    assert {tuple(x.tolist()) for x in another.sides["labelled"][0].flatten(1)} != labeled


QUIET = ("networks.classifier.input_noise=0", "networks.classifier.noise=0")


def blended_features(classifier: Any, batch: Batch) -> Tensor:
    """Return the features (N, F) of Eq. 8's blends."""
    partner, share = batch.blended["real"]
    features: Tensor = share[:, None] * classifier.embed(batch.real) + (1 - share[:, None]) * classifier.embed(partner)
    return features


def test_the_phases_of_an_iteration_are_those_of_the_authors_code() -> None:
    """Critic on features of blends, generator against it through the classifier, classifier on three kinds of images."""
    name, texts = KINDS["critic"]
    run = run_of(name, *texts, *QUIET, "samplers.difference.alpha=0.75")
    classifier, discriminator, generator = (run.networks[n] for n in ("classifier", "discriminator", "generator"))
    head = run.heads["adversarial"]
    batch = run.fresh()
    seen: list[Tensor] = []
    hook = discriminator.register_forward_pre_hook(lambda _m, inputs: seen.append(inputs[0].detach().clone()))
    run.phase("discriminator", batch)
    hook.remove()
    torch.testing.assert_close(seen[0][:20, :, 0, 0], blended_features(classifier, batch))
    # Of 20 images 15 are to be avoided.
    torch.testing.assert_close(seen[0][25:, :, 0, 0], classifier.embed(batch.joined["fake"][0]))
    torch.testing.assert_close(seen[0][20:25, :, 0, 0], classifier.embed(batch.generated["fake"][:5]))

    batch = run.fresh()
    fake = generator(batch.z, batch.fake_label)
    expected = -head(discriminator(classifier.embed(fake)[:, :, None, None]), None).mean()
    run.phase("generator", batch)
    assert run.losses["generator/adversarial"].item() == pytest.approx(expected.item(), rel=1e-4, abs=1e-6)

    batch = run.fresh()
    images, labels = batch.sides["labelled"]
    with torch.no_grad():
        fake = generator(batch.z, batch.fake_label)
        unlabeled, generated = (torch.logsumexp(classifier(x), 1) for x in (batch.real, fake))
        expected = F.cross_entropy(classifier(images), labels)
        expected = expected + (F.softplus(-unlabeled).mean() + F.softplus(generated).mean()) / 2
    before = [p.detach().clone() for p in run.players["generator"].parameters]
    run.phase("classifier", batch)
    assert run.losses["classifier/classes"].item() == pytest.approx(expected.item(), rel=1e-4)
    assert all(torch.equal(a, b) for a, b in zip(before, run.players["generator"].parameters, strict=True))


def test_equation_2_in_the_space_of_features_is_the_weighted_sum_by_hand() -> None:
    """E over wide, generated and avoided features with weights -1, 1 - alpha and alpha, and a penalty for each of the two."""
    name, texts = KINDS["weighted"]
    run = run_of(name, *texts, *QUIET)
    classifier, discriminator = run.networks["classifier"], run.networks["discriminator"]
    batch = run.fresh()
    seen: list[Tensor] = []
    hook = discriminator.register_forward_pre_hook(lambda _m, inputs: seen.append(inputs[0].detach().clone()))
    before = copy.deepcopy([discriminator, run.heads["adversarial"]])
    run.phase("discriminator", batch)
    hook.remove()

    def critic(features: Tensor) -> Tensor:
        logit: Tensor = before[1](before[0](features[:, :, None, None]), None)
        return logit

    with torch.no_grad():
        wide = blended_features(classifier, batch)
        generated, avoided = (classifier.embed(x) for x in (batch.generated["fake"], batch.sides["avoid"][0]))
    joint, *mixed = (x[:, :, 0, 0] for x in seen)
    torch.testing.assert_close(joint, torch.cat([wide, generated, avoided]))
    losses = []
    for features, between in zip((avoided, generated), mixed, strict=True):
        # Where the penalty is taken lies on the way from a wide to a generated or avoided image, another place for each.
        way = features - wide
        place = ((between - wide) * way).sum(1, keepdim=True) / way.square().sum(1, keepdim=True)
        assert ((place > 0) & (place < 1)).all()
        torch.testing.assert_close(between, wide + place * way, rtol=1e-4, atol=1e-5)
        between.requires_grad_()
        (slope,) = torch.autograd.grad(critic(between).sum(), between, create_graph=True)
        losses.append(critic(features).mean() - critic(wide).mean() + 10 * (slope.norm(dim=1) - 1).square().mean())
    alpha = 0.8
    expected = alpha * losses[0] + (1 - alpha) * losses[1]
    total = sum(run.parts.weights[label] * run.losses[f"discriminator/{label}"] for label in EQUATION_2)
    assert float(total) == pytest.approx(expected.item(), rel=1e-5)
    parameters = [p for module in before for p in module.parameters()]
    for parameter, gradient in zip(
        run.players["discriminator"].parameters, torch.autograd.grad(expected, parameters), strict=True
    ):
        assert parameter.grad is not None
        torch.testing.assert_close(parameter.grad, gradient, rtol=1e-4, atol=1e-6)


EQUATION_2 = ("generated", "avoided", "penalty", "avoided_penalty")


def test_the_weighted_recipes_differ_from_the_mixture_in_its_losses_alone() -> None:
    """Eq. 2's recipe for a CPU is as short as that of the mixture, and has the losses of the paper's."""
    names = ("mnist-semi-small", "mnist-semi-small-weighted", "mnist-semi-weighted")
    mixture, small, paper = (read(f"dsgan/{name}", registry()).table for name in names)
    assert small["losses"] == paper["losses"] != mixture["losses"]
    assert small["samplers"] == paper["samplers"]
    apart = ("losses", "samplers", "summary", "extends")
    assert {k: v for k, v in small.items() if k not in apart} == {k: v for k, v in mixture.items() if k not in apart}


def test_the_game_is_played_now_and_then_and_the_classifier_always() -> None:
    name, texts = KINDS["now and then"]
    run = run_of(name, *texts)
    turns: list[str] = []
    phase = run.phase
    run.phase = lambda player, batch: (turns.append(player[0]), phase(player, batch))[1]  # type: ignore[method-assign]
    rounds = []
    for _ in range(4):
        turns.clear()
        run.step()
        rounds.append("".join(turns))
    assert rounds == ["ddgc", "c", "ddgc", "c"]
    assert run.draws == 10


def test_a_few_labels_and_the_rest_teach_the_digits() -> None:
    name, texts = KINDS["critic"]
    faster = ("run.batch_size=50", "run.iterations=250", "networks.classifier.width=0.1", "samplers.labels.count=20")
    starts = [f"optimizers.{player}.schedule.start=200" for player in ("generator", "discriminator", "classifier")]
    run = steps(run_of(name, *texts, *faster, *starts), 250)
    images, labels = run.plan.dataset.load("test")
    classifier = run.networks["classifier"].eval()
    with torch.no_grad():
        right = classifier(images.float() / 127.5 - 1).argmax(1) == labels
    assert right.float().mean() > 0.6


@pytest.mark.parametrize("kind", ["critic", "matching"])
def test_explain_describes_a_semi_supervised_game(kind: str) -> None:
    name, texts = KINDS[kind]
    text = explain(make_plan(read(name, registry(), assignments=texts), registry()))
    assert "classes(labelled_classifier, labelled_label, real_classifier, fake_classifier)" in text
    assert "selects from the source labelled" in text
    assert ("D sees the features of classifier(real, fake)" in text) == (kind == "critic")


# -- adversarial training ----------------------------------------------------------------------------------------------


def quick(*texts: str) -> str:
    return "[" + ", ".join(f"'{text}'" for text in texts) + "]"


ROBUST = (
    *DIGITS,
    "networks.classifier.maps=8",
    "networks.classifier.trained_with=" + quick("run.iterations=2", "run.batch_size=8"),
)


def stages(*texts: str) -> list[str]:
    """Return the settings of the third stage, whose first two are as short."""
    inner = '["run.iterations=2", "run.batch_size=8"]'
    second = ["run.iterations=2", "run.batch_size=8", f"networks.classifier.trained_with={inner}"]
    second += ["networks.classifier.maps=8", *texts]
    return [*ROBUST, "networks.generator.trained_with=" + quick(*second)]


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """Run a command in an empty folder with an empty cache."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GANCORE_CACHE", str(tmp_path / "cache"))
    return lambda *words: CliRunner().invoke(main, list(words), catch_exceptions=False)


def sets(*texts: str) -> list[str]:
    return [word for text in texts for word in ("--set", text)]


def test_three_stages_train_each_other_once(command: Callable[..., Result], tmp_path: Path) -> None:
    done = command("train", "dsgan/mnist-small-robust", "--out", "run", *sets(*stages()))
    assert done.exit_code == 0, done.output
    folders = sorted(path.name.rsplit("-", 1)[0] for path in (tmp_path / "cache" / "trained").iterdir())
    # Both later stages begin with the same classifier.
    assert folders == ["dsgan-mnist-small-classifier", "dsgan-mnist-small-low-density"]
    # Another range of the noise is another generator, and the same classifier.
    done = command("train", "dsgan/mnist-small-robust", "--out", "two", *sets(*stages("samplers.difference.scale=0.02")))
    assert done.exit_code == 0, done.output
    counts = Counter(path.name.rsplit("-", 1)[0] for path in (tmp_path / "cache" / "trained").iterdir())
    assert counts == {"dsgan-mnist-small-classifier": 1, "dsgan-mnist-small-low-density": 2}


def test_the_generator_of_low_density_is_frozen_and_its_images_are_classified() -> None:
    recipe = read("dsgan/mnist-small-robust", registry(), assignments=ROBUST)
    plan = make_plan(recipe, registry())
    assert sorted(wanted(plan)) == ["networks.classifier", "networks.generator"]
    run = Run(plan, CPU)
    assert not run.networks["generator"].training
    assert not any(parameter.requires_grad for parameter in run.networks["generator"].parameters())
    batch = run.fresh()
    with torch.no_grad():
        p = run.networks["classifier"](run.networks["generator"](batch.z)).softmax(1)
        plain = F.cross_entropy(run.networks["classifier"](batch.real), batch.real_label)
    run.phase("classifier", batch)
    assert run.losses["classifier/confidence"].item() == pytest.approx(-(p * p.log()).sum(1).mean().item(), rel=1e-4)
    assert run.losses["classifier/classes"].item() == pytest.approx(plain.item(), rel=1e-5)
    assert recipe.entries["losses", "confidence"].keys.weight == 3.0


def test_the_second_stage_plays_on_the_features_of_the_first() -> None:
    plan = make_plan(read("dsgan/mnist-small-robust", registry(), assignments=stages()), registry())
    second = training_recipe(plan, "networks.generator")
    plan = make_plan(second, registry())
    assert plan.stands_on == "classifier"
    run = Run(plan, CPU)
    before = {name: value.clone() for name, value in run.networks["classifier"].state_dict().items()}
    steps(run, 1)
    assert run.networks["discriminator"].layers[0].in_features == run.networks["classifier"].features
    assert all(torch.equal(before[name], value) for name, value in run.networks["classifier"].state_dict().items())


@pytest.mark.parametrize("name", ["mnist-small-noisy", "mnist-small-further"])
def test_the_baselines_have_no_generator(name: str) -> None:
    run = run_of(f"dsgan/{name}", *ROBUST)
    assert "generator" not in run.networks
    assert list(wanted(run.plan)) == ["networks.classifier"]
    images = {tuple(image) for image in (run.plan.dataset.load("train")[0].float() / 127.5 - 1).flatten(1).tolist()}
    clean = {tuple(image) for image in run.fresh().real.flatten(1).tolist()} <= images
    assert clean == (name == "mnist-small-further")
    steps(run, 1)
    assert sorted(run.losses) == ["classifier/classes"]


def test_an_oracle_takes_the_generators_place() -> None:
    recipe = read("dsgan/digits-oracle", registry(), assignments=["run.precision=float32"])
    plan = make_plan(recipe, registry())
    assert list(wanted(plan)) == ["networks.classifier"]
    run = Run(plan, CPU)
    batch = run.fresh()
    ideal = batch.sides["ideal"][0]
    data = to_unit(load_split(plan.dataset, "train")[0][:])
    clean, noisy = ((of.flatten(1)[:, None] - data.flatten(1)).abs().amax(2).amin(1) for of in (batch.real, ideal))
    # The real images stay as they are, and each ideal one is another training image with noise of at most the range.
    assert not clean.any()
    assert noisy.min() > 0.2
    assert noisy.max() <= 0.3 + 1e-6
    with torch.no_grad():
        p = run.networks["classifier"](ideal).softmax(1)
    run.phase("classifier", batch)
    assert run.losses["classifier/confidence"].item() == pytest.approx(-(p * p.log()).sum(1).mean().item(), rel=1e-4)
    assert recipe.entries["losses", "confidence"].keys.weight == 10.0


def test_generated_images_are_as_far_from_the_data_as_the_ideal_ones() -> None:
    nearest = ("metrics.nearest.use=dsgan/nearest", "metrics.nearest.images=50", "metrics.nearest.scale=0.3")
    run = run_of("dsgan/mnist-small-low-density", *ROBUST, *nearest, "metrics.nearest.classifier=classifier")
    values = Evaluator(run, ["nearest"])().values
    data, real = (to_unit(load_split(run.plan.dataset, split)[0][:]).flatten(1).double() for split in ("train", "test"))
    own = (real[:50, None] - data).square().mean(2).sqrt().amin(1)
    assert values["nearest/real"] == pytest.approx(own.mean().item(), rel=1e-5)
    # Independent noise: the mean square distances add up, and the nearest image is seldom another one.
    assert values["nearest/ideal"] == pytest.approx((own.square() + 0.3**2 / 3).sqrt().mean().item(), rel=0.05)
    fake = run.generate(run.latent(50, "nearest")).double().flatten(1)
    assert values["nearest/generated"] == pytest.approx((fake[:, None] - data).square().mean(2).sqrt().amin(1).mean().item())
    # An untrained generator makes gray images, as no noisy digit is.
    assert values["nearest/as_ideal"] == 0.0
    assert 0.0 <= values["nearest/features_as_ideal"] <= 1.0


def test_bounded_ideal_images_are_nearer_to_the_data() -> None:
    nearest = ("metrics.nearest.use=dsgan/nearest", "metrics.nearest.images=50", "metrics.nearest.scale=0.3")
    values = [
        Evaluator(run_of("dsgan/mnist-small-low-density", *ROBUST, *nearest, *more), ["nearest"])()
        for more in ((), ("metrics.nearest.bounded=true",))
    ]
    free, bounded = (scored.values for scored in values)
    assert bounded["nearest/real"] == free["nearest/real"] < bounded["nearest/ideal"] < free["nearest/ideal"]
    assert values[0].protocols["nearest"]["id"] != values[1].protocols["nearest"]["id"]


def test_the_share_of_ideal_distances_is_counted_between_two_quantiles() -> None:
    ideal = torch.linspace(1.0, 2.0, 101)
    assert as_ideal(torch.tensor([1.04, 1.06, 1.94, 1.96]), ideal) == 0.5
    assert as_ideal(ideal, ideal) == pytest.approx(0.9, abs=0.01)


# -- bad input ---------------------------------------------------------------------------------------------------------

WRONG: dict[str, tuple[str, tuple[str, ...], list[str]]] = {
    "more labels than there are": (
        "dsgan/mnist-semi",
        ("samplers.labels.count=500",),
        ["samplers.labels (standard/per-class)", "count = 500", "lower count"],
    ),
    "labels of a source that is gone": (
        "dsgan/mnist-semi",
        ("sources.labelled=false",),
        ["labelled"],
    ),
    "no partner": ("dsgan/mnist-semi", ("sources.partner=false",), ["samplers.difference", "add [sources.partner]"]),
    "nothing to avoid": ("dsgan/mnist-semi", ("sources.avoid=false",), ["samplers.difference", "add [sources.avoid]"]),
    "labeled images that nobody names": (
        "dsgan/mnist-semi",
        ("sources.labelled=false", "samplers.labels=false"),
        ["losses.classes", "'labelled_classifier'", "[sources.labelled]"],
    ),
    "a critic on nothing": (
        "dsgan/mnist-semi",
        ("networks.discriminator.on=classifer",),
        ["networks.discriminator", "'classifer'", "correct `on`"],
    ),
    "no critic's steps beside a critic": ("dsgan/mnist-semi", ("loop.critic_steps=0",), []),
    "a critic's steps without a critic": ("dsgan/mnist-semi-matching", ("loop.critic_steps=1",), ["discriminator"]),
    "a game never": ("dsgan/mnist-semi", ("loop.game_every=0",), ["game_every must be a whole number at least 1, not 0"]),
    "half a step": ("dsgan/mnist-semi", ("loop.critic_steps=0.5",), ["critic_steps", "0.5"]),
    "a negative entropy": ("dsgan/mnist-semi", ("losses.classes.entropy=-1",), ["losses.classes", "entropy", "-1"]),
    "a negative game": ("dsgan/mnist-semi", ("losses.classes.adversarial=-1",), ["losses.classes", "adversarial", "-1"]),
}


@pytest.mark.parametrize("kind", WRONG)
def test_a_bad_recipe_is_refused_in_a_sentence(kind: str) -> None:
    name, texts, pieces = WRONG[kind]
    settings = (*SEMI, *(() if "matching" in name else CRITIC), *texts)
    with pytest.raises(GancoreError) as caught:
        run_of(name, *settings).fresh()
    text = str(caught.value)
    assert "\n" not in text
    assert text.endswith("."), text
    for piece in pieces:
        assert piece in text, text


def test_the_command_says_it_in_one_line_and_leaves_nothing(command: Callable[..., Result], tmp_path: Path) -> None:
    for texts, piece in (
        (("samplers.difference.alpha=1",), "alpha must be a number in [0, 1), not 1"),
        (("samplers.labels.count=500",), "lower count"),
    ):
        done = command("train", "dsgan/mnist-semi", "--out", "run", *sets(*SEMI, *CRITIC, *texts))
        assert done.exit_code == 2
        (line,) = [line for line in done.output.splitlines() if line.startswith("Error: ")]
        assert piece in line
        assert not (tmp_path / "run").exists()

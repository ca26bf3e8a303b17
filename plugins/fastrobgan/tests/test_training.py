"""The plugin at work: passes that are counted, training rules against hand-written loops, fine-tuning, `gancore attack`."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import gancore_fastrobgan
import gancore_standard
import pytest
import torch
from click.testing import CliRunner, Result
from gancore_fastrobgan.attacks import PGD
from gancore_fastrobgan.losses import FastLoss, SplitLoss
from gancore_standard.robustness import attack_batches, local_lipschitz, robust_accuracy
from gancore_training import TrainingRun, checkpoint
from torch import Tensor
from torch.nn import functional as F

from gancore import GancoreError
from gancore.cli.main import main
from gancore.plan.load import make_plan
from gancore.recipe.layers import merge
from gancore.recipe.recipe import check_table
from gancore.registry import Registry
from tests import probe
from tests.compose.hosts import CPU, same, steps

GAME: dict[str, Any] = {
    "run": {"iterations": 8, "batch_size": 8, "latent_dim": 6, "precision": "float32", "log_every": 2},
    "data": {"use": "standard/digits"},
    "networks": {
        "generator": {"use": "fastrobgan/generator", "width": 0.03},
        "discriminator": {"use": "fastrobgan/plain-discriminator", "width": 0.06},
    },
    "heads": {"adversarial": {"use": "standard/linear"}, "classes": {"use": "standard/auxiliary-classifier"}},
    "losses": {"adversarial": {"use": "fastrobgan/fast-loss"}},
}
FREE = {
    "attacks": {"free": {"use": "fastrobgan/free", "epsilon": 0.1}},
    "loop": {"use": "fastrobgan/free-replay", "replays": 3, "discriminator_steps": 2},
}
ROBGAN = {
    "attacks": {"pgd": {"use": "fastrobgan/pgd", "epsilon": 0.1, "steps": 4}},
    "loop": {"use": "standard/alternating", "discriminator_steps": 5},
    "losses": {"adversarial": {"use": "fastrobgan/split-loss"}},
}
TUNE = {
    "networks": {"generator": False},
    "heads": {"adversarial": False},
    "losses": {"adversarial": False, "classes": {"use": "fastrobgan/fine-tune"}},
    "attacks": {"pgd": {"use": "fastrobgan/pgd", "epsilon": 0.1, "steps": 2}},
    "loop": {"use": "fastrobgan/fine-tuning"},
}


def run_of(*tables: dict[str, Any]) -> TrainingRun:
    registry = Registry.of({"standard": gancore_standard, "fastrobgan": gancore_fastrobgan, "probe": probe})
    table = GAME
    for over in tables:
        table = merge(table, over)
    return TrainingRun(make_plan(check_table(table, registry, name="test"), registry), CPU)


def passes(run: TrainingRun) -> Counter[str]:
    """Run one iteration; count batches through each network, forward and backward."""
    seen: Counter[str] = Counter()
    handles = []
    for name in ("generator", "discriminator"):

        def forward(_module: Any, inputs: Any, output: Tensor, name: str = name) -> None:
            seen[f"{name} forward"] += len(inputs[0])
            if output.requires_grad:
                output.register_hook(lambda grad: seen.update({f"{name} backward": len(grad)}))

        handles.append(run.networks[name].register_forward_hook(forward))
    run.step()
    for handle in handles:
        handle.remove()
    return Counter({name: count // run.recipe.run.batch_size for name, count in seen.items()})


def test_free_training_makes_the_passes_of_algorithm_2() -> None:
    """step_D times: G(z) once; M times D on real and on fake. Then one step of G. Nothing for the attack."""
    m, step_d = 3, 2
    got = passes(run_of(FREE))
    assert got["generator forward"] == step_d + 1
    assert got["generator backward"] == 1
    assert got["discriminator forward"] == step_d * m * 2 + 1
    assert got["discriminator backward"] == step_d * m * 2 + 1


def test_robgan_makes_the_passes_of_algorithm_1() -> None:
    """step_D times: K passes for the attack, then D on real and on fake. Then one step of G."""
    k, step_d = 4, 5
    got = passes(run_of(ROBGAN))
    assert got["generator forward"] == step_d + 1
    assert got["discriminator forward"] == step_d * (k + 2) + 1
    assert got["discriminator backward"] == step_d * (k + 2) + 1


@pytest.mark.parametrize("table", [FREE, ROBGAN], ids=["free", "pgd"])
def test_training_resumes_to_the_last_bit(table: dict[str, Any], tmp_path: Path) -> None:
    whole = steps(run_of(table), 6)
    checkpoint.save(steps(run_of(table), 3), tmp_path / "run")
    again = run_of(table)
    checkpoint.load(again, checkpoint.checkpoints(tmp_path / "run")[-1])
    assert same(whole, steps(again, 3)) == []


def test_free_training_is_the_loop_written_by_hand() -> None:
    """Two iterations of Algorithm 2 in plain PyTorch, from the same weights, batches and latents, to the last bit."""
    table = merge(FREE, {"loop": {"replays": 2, "discriminator_steps": 1}})
    run, hand = run_of(table), run_of(table)
    generator, discriminator = hand.networks["generator"], hand.networks["discriminator"]
    heads, attack, loss = hand.heads, hand.attack, FastLoss()
    assert attack is not None
    delta = attack.delta
    players = hand.players
    for _ in range(2):
        hand.set_schedules()
        batch = hand.fresh()
        with torch.no_grad():
            fake = generator(batch.z, batch.fake_label)
        for _replay in range(2):
            seen = (batch.real + delta).clamp(-1, 1).detach().requires_grad_()
            features = discriminator(torch.cat([seen, fake]))
            logit = heads["adversarial"](features, None)
            classes = heads["classes"](features, None)
            n = len(seen)
            value = loss.discriminator(
                real_adversarial=logit[:n],
                real_classes=classes[:n],
                real_label=batch.real_label,
                fake_adversarial=logit[n:],
                fake_classes=classes[n:],
            )
            players["discriminator"].zero_grad()
            value.backward(inputs=[*players["discriminator"].parameters, seen])
            players["discriminator"].step()
            assert seen.grad is not None
            inside = (batch.real + delta).abs() <= 1
            delta.copy_((delta + 0.1 * (seen.grad * inside).sign()).clamp(-0.1, 0.1))
        batch = hand.renew(batch)
        players["generator"].zero_grad()
        image = generator(batch.z, batch.fake_label)
        features = discriminator(image)
        value = loss.generator(
            fake_adversarial=heads["adversarial"](features, None),
            fake_classes=heads["classes"](features, None),
            fake_label=batch.fake_label,
        )
        value.backward(inputs=players["generator"].parameters)
        players["generator"].step()
        hand.iteration += 1
    assert same(steps(run, 2), hand) == []


def test_robgan_is_the_loop_written_by_hand() -> None:
    """An iteration of Algorithm 1 in plain PyTorch: two discriminator steps, three of PGD each, then the generator's."""
    pgd = {"steps": 3, "step": 0.05, "start": "zero"}
    table = merge(ROBGAN, {"attacks": {"pgd": pgd}, "loop": {"discriminator_steps": 2}})
    run, hand = run_of(table), run_of(table)
    generator, discriminator, heads = hand.networks["generator"], hand.networks["discriminator"], hand.heads
    players, loss = hand.players, SplitLoss()
    hand.set_schedules()
    for _ in range(2):
        batch = hand.fresh()
        with torch.no_grad():
            fake = generator(batch.z, batch.fake_label)
        x = batch.real
        for _step in range(3):
            leaf = x.detach().requires_grad_()
            features = discriminator(leaf)
            logit, classes = heads["adversarial"](features, None), heads["classes"](features, None)
            raised = 0.5 * F.softplus(-logit) + 0.5 * F.cross_entropy(classes, batch.real_label, reduction="none")
            (grad,) = torch.autograd.grad(raised.sum(), leaf)
            x = (batch.real + (leaf.detach() + 0.05 * grad.sign() - batch.real).clamp(-0.1, 0.1)).clamp(-1, 1)
        features = discriminator(torch.cat([x, fake]))
        logit, classes = heads["adversarial"](features, None), heads["classes"](features, None)
        n = len(x)
        value = loss.discriminator(
            real_adversarial=logit[:n],
            real_classes=classes[:n],
            real_label=batch.real_label,
            fake_adversarial=logit[n:],
            fake_classes=classes[n:],
            fake_label=batch.fake_label,
        )
        players["discriminator"].zero_grad()
        value.backward(inputs=players["discriminator"].parameters)
        players["discriminator"].step()
    batch = hand.renew(batch)
    players["generator"].zero_grad()
    features = discriminator(generator(batch.z, batch.fake_label))
    logit, classes = heads["adversarial"](features, None), heads["classes"](features, None)
    value = loss.generator(fake_adversarial=logit, fake_classes=classes, fake_label=batch.fake_label)
    value.backward(inputs=players["generator"].parameters)
    players["generator"].step()
    hand.iteration += 1
    assert same(steps(run, 1), hand) == []


def test_the_attack_raises_the_real_part_of_the_loss_and_leaves_no_gradient() -> None:
    run = run_of(ROBGAN)
    seen: list[Tensor] = []
    assert run.attack is not None
    craft = run.attack.craft

    def watched(x: Tensor, objective: Any, noise: torch.Generator) -> Tensor:
        before = objective(x)
        adversarial = craft(x, objective, noise)
        assert all(p.grad is None or not p.grad.any() for p in run.players["discriminator"].parameters)
        seen.append((objective(adversarial) - before).detach())
        return adversarial

    run.attack.craft = watched  # type: ignore[method-assign]
    run.step()
    assert len(seen) == 5
    assert torch.cat(seen).mean() > 0


def test_fine_tuning_attacks_real_and_generated_images(tmp_path: Path) -> None:
    from gancore.files.tensors import write_tensors

    path = tmp_path / "generator.safetensors"
    write_tensors(path, run_of().networks["generator"].state_dict(), {})
    with_generator = {
        "networks": {"generator": {**GAME["networks"]["generator"], "weights": str(path)}},
        "attacks": {"pgd": {"sides": ["real", "fake"]}},
    }
    run = run_of(TUNE, with_generator)
    assert run.attack is not None
    craft, crafted = run.attack.craft, []

    def watched(x: Tensor, objective: Any, noise: torch.Generator) -> Tensor:
        adversarial = craft(x, objective, noise)
        crafted.append((x, adversarial, objective(x), objective(adversarial)))
        return adversarial

    run.attack.craft = watched  # type: ignore[method-assign]
    views = []
    hook = run.networks["discriminator"].register_forward_hook(lambda _m, inputs, _o: views.append(inputs[0]))
    run.step()
    hook.remove()
    (real, real_adversarial, *_), (fake, fake_adversarial, *_) = crafted
    assert not torch.equal(real, fake)
    torch.testing.assert_close(views[-1], torch.cat([real_adversarial, fake_adversarial]))
    for _x, _adversarial, before, after in crafted:
        assert (after >= before - 1e-6).float().mean() > 0.9


def test_madrys_training_makes_a_classifier_robust(tmp_path: Path) -> None:
    """On the digits, the adversarially trained classifier holds where the plain one falls."""
    longer = {"run": {"batch_size": 64}, "attacks": {"pgd": {"epsilon": 0.2, "steps": 5}}}
    optimizer = {"optimizers": {"discriminator": {"use": "adam", "lr": 1e-3, "betas": [0.9, 0.999]}}}
    wider = {"networks": {"discriminator": {"width": 0.12}}}
    robust = steps(run_of(TUNE, longer, optimizer, wider), 200)
    plain = steps(run_of(TUNE, longer, optimizer, wider, {"attacks": {"pgd": False}}), 200)
    settings = {"steps": 10}
    scores = [robust_accuracy(run, "fastrobgan/pgd", [0.0, 0.2], settings=settings, samples=200) for run in (robust, plain)]
    for score in scores:
        assert score.natural > 0.8
        assert score.accuracy["0"] == score.natural
        assert score.accuracy["0.2"] <= score.natural
    assert scores[0].accuracy["0.2"] > scores[1].accuracy["0.2"] + 0.15
    assert scores[0].protocol["id"] == scores[1].protocol["id"]
    assert scores[0].protocol["weights"] != scores[1].protocol["weights"]


def test_robust_accuracy_counts_what_it_says() -> None:
    """A classifier by the sign of the mean, attacked within a budget: images nearer to 0 than the budget fall."""

    def classify(x: Tensor) -> Tensor:
        mean = x.mean((1, 2, 3))
        return torch.stack([-mean, mean], 1)

    means = torch.tensor([-0.5, -0.2, -0.05, 0.05, 0.2, 0.5])
    images = means.view(-1, 1, 1, 1).expand(-1, 1, 2, 2).contiguous()
    labels = torch.tensor([0, 0, 0, 1, 1, 0])  # the last is wrong from the start
    attacks = {f"{e}": PGD(epsilon=e, steps=3) for e in (0.0, 0.1, 0.3, 0.6)}
    natural, accuracy, number = attack_batches(classify, [(images, labels)], attacks, seed=0)
    assert number == 6
    assert natural == pytest.approx(5 / 6)
    assert accuracy == {"0.0": pytest.approx(5 / 6), "0.1": pytest.approx(3 / 6), "0.3": pytest.approx(1 / 6), "0.6": 0.0}


def test_the_local_lipschitz_value_is_the_gradients_norm() -> None:
    """For two logits (0, w.x) the loss of class 1 has the gradient -sigma(-w.x) w."""
    torch.manual_seed(0)
    w = torch.randn(4)

    def classify(x: Tensor) -> Tensor:
        return torch.stack([torch.zeros(len(x)), x.flatten(1) @ w], 1)

    images = torch.randn(5, 1, 2, 2)
    expected = (torch.sigmoid(-(images.flatten(1) @ w)) * w.norm()).mean()
    batches = [(images[:3], torch.ones(3, dtype=torch.int64)), (images[3:], torch.ones(2, dtype=torch.int64))]
    assert local_lipschitz(classify, batches) == pytest.approx(expected.item(), rel=1e-5)


def test_an_attack_in_training_on_a_classifier(tmp_path: Path) -> None:
    table = {
        "run": GAME["run"],
        "data": {"use": "standard/digits"},
        "networks": {"classifier": {"use": "standard/small-cnn"}},
        "loop": {"use": "standard/supervised"},
        "losses": {"ce": {"use": "standard/cross-entropy"}},
        "attacks": {"pgd": {"use": "fastrobgan/pgd", "epsilon": 0.1, "steps": 2, "start": "zero"}},
    }
    registry = Registry.of({"standard": gancore_standard, "fastrobgan": gancore_fastrobgan})
    run, hand = (TrainingRun(make_plan(check_table(table, registry, name="test"), registry), CPU) for _ in range(2))
    run.step()
    batch = hand.fresh()
    network = hand.networks["classifier"].eval()
    x = batch.real
    for _ in range(2):
        leaf = x.clone().requires_grad_()
        F.cross_entropy(network(leaf), batch.real_label, reduction="none").sum().backward()
        assert leaf.grad is not None
        x = (batch.real + (x + 0.125 * leaf.grad.sign() - batch.real).clamp(-0.1, 0.1)).clamp(-1, 1)
    network.train()
    torch.manual_seed(0)
    loss = F.cross_entropy(network(x), batch.real_label)
    assert run.losses["classifier/ce"].item() == pytest.approx(loss.item(), rel=1e-5)


def invoke(*words: str) -> Result:
    return CliRunner().invoke(main, list(words))


TINY = ["run.iterations=3", "run.evaluate_every=0", "metrics=false", "networks.annotator=false", "run.batch_size=8"]


def sets(*assignments: str) -> list[str]:
    return [word for assignment in assignments for word in ("--set", assignment)]


def test_the_command_attacks_a_run(tmp_path: Path) -> None:
    out = str(tmp_path / "run")
    done = invoke("train", "fastrobgan/digits-small", "--out", out, *sets(*TINY))
    assert done.exit_code == 0, done.output
    done = invoke("attack", out, "--epsilon", "0,0.1", "--samples", "40", *sets("steps=2"))
    assert done.exit_code == 0, done.output
    assert "classes, 40 images" in done.output
    entry = json.loads((tmp_path / "run/attacks.jsonl").read_text())
    assert entry["accuracy"]["0"] == entry["natural"]
    assert entry["protocol"]["settings"] == {"steps": 2}
    assert entry["protocol"]["attack"] == "fastrobgan/pgd"
    with (tmp_path / "run/attacks.jsonl").open("a") as file:
        file.write('{"iteration": 3, "natural": 0.5, "accuracy": {"x": 1, "0.1": "y"}}\n{"iter')
    assert invoke("report", out).exit_code == 0
    page = (tmp_path / "run-report.html").read_text()
    assert "Accuracy under fastrobgan/pgd (steps 2), test images" in page
    assert page.count("local Lipschitz value") == 1
    assert page.count("<th>epsilon 0.1</th>") == 1
    assert ">epsilon</text>" in page
    assert "The last line of attacks.jsonl is cut off" in page
    wrong = {
        ("--epsilon", "-0.1"): "epsilon = -0.1; images are in [-1, 1]",
        ("--epsilon", "3"): "epsilon = 3.0; images are in [-1, 1]",
        ("--epsilon", "much"): "--epsilon = 'much' is no budget; write levels of a pixel as 8/255",
        ("--attack", "fastrobgan/free"): "lives in a training",
        ("--attack", "fastrobgan/pdg"): "did you mean",
        ("--classifier", "classify"): "has no classifier 'classify'",
        ("--set", "steps=0"): "steps",
        ("--set", "stepps=3"): "stepps",
        ("--set", "epsilon=3"): "budgets are given by --epsilon",
    }
    for words, sentence in wrong.items():
        done = invoke("attack", out, *words)
        assert done.exit_code == 2, (words, done.output)
        assert sentence in done.output, done.output
        assert done.output.count("\n") == 1


def test_fine_tuning_trains_what_it_needs_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GANCORE_CACHE", str(tmp_path / "cache"))
    (tmp_path / "gan.toml").write_text(
        'extends = "fastrobgan/digits-small-robgan"\nmetrics = false\n'
        "[networks]\nannotator = false\n[run]\niterations = 2\nbatch_size = 8\nevaluate_every = 0\n"
    )
    source = f'trained_by="{tmp_path}/gan.toml"'
    words = [f"{place}.{source}" for place in ("networks.generator", "networks.discriminator", "heads.classes")]
    out = str(tmp_path / "run")
    recipe = ["train", "fastrobgan/digits-small-fine-tune", "--out", out]
    done = invoke(*recipe, *sets("run.iterations=2", "run.batch_size=8", *words))
    assert done.exit_code == 0, done.output
    # One run of the GAN gives all three.
    assert done.output.count("has no weights yet") == 1


BAD = {
    "negative epsilon": (["attacks.free.epsilon=-0.01"], "it must be from 0 to 2"),
    "epsilon beyond the range": (["attacks.free.epsilon=2.1"], "it must be from 0 to 2"),
    "no replay": (["loop.replays=0"], "replays"),
    "half a replay": (["loop.replays=1.5"], "replays"),
    "an unknown norm": (["attacks.free.norm=l3"], "norm"),
    "two attacks": (["attacks.second.use=fastrobgan/pgd"], "a recipe takes one attack"),
    "no class head": (["heads.classes=false"], "which nothing in this recipe provides: add [heads.classes]"),
    "an attack for evaluation": (["attacks.free.use=fastrobgan/deepfool"], "attacks in evaluation only"),
    "a free attack on fakes": (['attacks.free.sides=["fake"]'], 'takes ["real"]'),
    "no sides": (["attacks.free.sides=[]"], "sides = []"),
    "a third side": (['attacks.free.sides=["left"]'], "sides"),
    "fakes that no loss attacks": (
        ["attacks.free.use=fastrobgan/pgd", 'attacks.free.sides=["fake"]'],
        "says what an attack on fake images raises",
    ),
}


@pytest.mark.parametrize("kind", BAD)
def test_bad_input_gets_one_sentence(kind: str, tmp_path: Path) -> None:
    assignments, sentence = BAD[kind]
    done = invoke("train", "fastrobgan/digits-small", "--out", str(tmp_path / "run"), *sets(*TINY, *assignments))
    assert done.exit_code == 2, done.output
    assert sentence in done.output, done.output
    assert done.output.count("\n") == 1
    assert not (tmp_path / "run").exists()


def test_an_attack_that_no_loss_serves_is_refused() -> None:
    heads = {"heads": {"adversarial": {"use": "standard/linear"}, "classes": False}}
    with pytest.raises(GancoreError, match="has nothing to raise"):
        run_of(ROBGAN, heads, {"losses": {"adversarial": False, "twin": {"use": "probe/untouchable"}}})


def test_an_attack_rests_while_no_active_term_serves_it() -> None:
    """The loss that says what to raise takes part in every other iteration; a penalty trains D in all of them."""
    penalty = {"losses": {"adversarial": {"every": 2}, "penalty": {"use": "standard/gradient-penalty"}}}
    run = run_of(ROBGAN, penalty, {"loop": {"discriminator_steps": 1}})
    assert run.attack is not None
    crafted = []
    craft = run.attack.craft

    def watched(x: Tensor, objective: Any, noise: torch.Generator) -> Tensor:
        crafted.append(run.iteration)
        return craft(x, objective, noise)

    run.attack.craft = watched  # type: ignore[method-assign]
    steps(run, 4)
    assert crafted == [0, 2]


def test_what_an_attack_does_not_compute_is_refused() -> None:
    greedy = {"losses": {"greedy": {"use": "probe/greedy"}}}
    with pytest.raises(GancoreError, match="asks for 'real_activations' in its attacked, which an attack on the discriminator"):
        run_of(ROBGAN, greedy)


def test_the_split_loss_and_the_plain_objective_are_one_without_classes() -> None:
    x, y = torch.randn(7), torch.randn(7)
    nothing = {"real_classes": torch.zeros(7, 3), "real_label": torch.zeros(7, dtype=torch.int64)}
    fakes = {"fake_classes": torch.zeros(7, 3), "fake_label": torch.zeros(7, dtype=torch.int64)}
    got = SplitLoss(real=1, label=0).discriminator(real_adversarial=x, fake_adversarial=y, **nothing, **fakes)
    torch.testing.assert_close(got, F.softplus(-x).mean() + F.softplus(y).mean())

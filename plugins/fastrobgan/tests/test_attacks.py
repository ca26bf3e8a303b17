"""Attacks: parity with the papers' code, other libraries, and what each must hold."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import pytest
import torch
from gancore_fastrobgan.attacks import FGSM, PGD, DeepFool, Free, MarginPGD, norms, project, random_start
from gancore_fastrobgan.external import External
from gancore_fastrobgan.losses import SplitLoss
from torch import Tensor, nn
from torch.nn import functional as F

from gancore import GancoreError

Load = Callable[[str], dict[str, Any]]


class Judge(nn.Module):
    """The tiny two-headed discriminator of the RobGAN vectors."""

    def __init__(self, vectors: dict[str, Any]) -> None:
        super().__init__()
        self.c = nn.Conv2d(3, 4, 3, padding=1)
        self.bn = nn.BatchNorm2d(4)
        self.l = nn.Linear(4, 1)
        self.y = nn.Linear(4, 5)
        self.double()
        state = {name: torch.as_tensor(vectors[f"w_{name.replace('.', '_')}"]) for name in self.state_dict()}
        self.load_state_dict(state)
        self.eval().requires_grad_(False)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        features = F.relu(self.bn(self.c(x))).sum((2, 3))
        return self.l(features).flatten(), self.y(features)


class Small(nn.Module):
    """The tiny classifier of the free-adversarial and Madry vectors."""

    def __init__(self, vectors: dict[str, Any], prefix: str, *, pool: bool) -> None:
        super().__init__()
        self.c = nn.Conv2d(3, 4, 3, padding=1)
        weight = torch.as_tensor(vectors[f"{prefix}_l_weight"])
        self.l = nn.Linear(weight.shape[1], weight.shape[0])
        self.pool = pool
        self.double().load_state_dict(
            {name: torch.as_tensor(vectors[f"{prefix}_{name.replace('.', '_')}"]) for name in self.state_dict()}
        )

    def forward(self, x: Tensor) -> Tensor:
        maps = F.relu(self.c(x))
        return self.l(maps.mean((2, 3)) if self.pool else maps.flatten(1))


def noise(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("epsilon", [0.03125, 0.0625])
@pytest.mark.parametrize("steps", [1, 5, 10])
@pytest.mark.parametrize("kind", ["cotrain", "label"])
def test_pgd_agrees_with_robgans_code(parity: Load, epsilon: float, steps: int, kind: str) -> None:
    vectors = parity("robgan_attacks")
    judge = Judge(vectors)
    x, y = torch.as_tensor(vectors["x"]), torch.as_tensor(vectors["y"])
    loss = SplitLoss()

    def objective(images: Tensor) -> Tensor:
        logit, classes = judge(images)
        if kind == "label":
            return F.cross_entropy(classes, y, reduction="none")
        return loss.attacked(real_adversarial=logit, real_classes=classes, real_label=y)

    step = 0.0078 if kind == "cotrain" else epsilon / 5
    attack = PGD(epsilon=epsilon, steps=steps, step=step, start="zero")
    expected = torch.as_tensor(vectors[f"{kind}_eps{epsilon}_s{steps}"])
    torch.testing.assert_close(attack.craft(x, objective, noise()), expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("start", [0, 1])
def test_pgd_agrees_with_madrys_code(parity: Load, start: int, monkeypatch: pytest.MonkeyPatch) -> None:
    vectors = parity("madry_pgd")
    x, y = torch.as_tensor(vectors["x"]), torch.as_tensor(vectors["y"])
    network = Small(vectors, "w", pool=vectors["w_l_weight"].shape[1] == 4).requires_grad_(False)
    scale = 127.5  # pixels 0 to 255 there, [-1, 1] here
    if start:
        first = torch.as_tensor(vectors["start_noise"]) / scale
        monkeypatch.setattr("gancore_fastrobgan.attacks.random_start", lambda *_: first)
    attack = PGD(epsilon=8 / scale, steps=10, step=2 / scale, start="uniform" if start else "zero")

    def objective(images: Tensor) -> Tensor:
        return F.cross_entropy(network((images + 1) / 2), y, reduction="none")

    got = (attack.craft(x / scale - 1, objective, noise()) + 1) * scale
    torch.testing.assert_close(got, torch.as_tensor(vectors[f"adv_rand{start}"]), rtol=1e-9, atol=1e-9)


def test_free_delta_follows_the_public_code(parity: Load) -> None:
    """Their whole training: delta before every forward, losses and weights, in pixels [0, 1] with normalization."""
    vectors = parity("free_adversarial")
    network = Small(vectors, "w0", pool=vectors["w0_l_weight"].shape[1] == 4)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.05, momentum=0.9, weight_decay=1e-4)
    mean, std = (torch.as_tensor(vectors[name]).view(1, 3, 1, 1) for name in ("mean", "std"))
    x, y = torch.as_tensor(vectors["x"]) * 2 - 1, torch.as_tensor(vectors["y"])
    epsilon = 2 * float(vectors["clip_eps"])
    attack = Free(channels=3, image_size=6, batch_size=4, epsilon=epsilon, start="zero").double()
    number = 0
    for _epoch in range(2):
        for start in range(0, 10, 4):
            real, label = x[start : start + 4], y[start : start + 4]
            for _replay in range(int(vectors["n_repeats"])):
                before = torch.as_tensor(vectors["noise_before_each_forward"][number]) * 2
                torch.testing.assert_close(attack.delta, before, rtol=1e-9, atol=1e-12)
                seen = attack.perturb(real).requires_grad_()
                loss = F.cross_entropy(network(((seen + 1) / 2 - mean) / std), label)
                optimizer.zero_grad()
                loss.backward()
                assert seen.grad is not None
                attack.update(seen.grad, real)
                optimizer.step()
                assert loss.item() == pytest.approx(vectors["loss"][number], rel=1e-9)
                weights = torch.cat([p.detach().flatten() for p in network.parameters()])
                torch.testing.assert_close(
                    weights, torch.as_tensor(vectors["params_after_each_step"][number]), rtol=1e-9, atol=1e-12
                )
                number += 1
    torch.testing.assert_close(attack.delta, torch.as_tensor(vectors["noise_final"]) * 2, rtol=1e-9, atol=1e-12)


@pytest.fixture
def victim() -> nn.Module:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 64, 5)).double()
    return network.eval().requires_grad_(False)


def images(number: int = 12) -> Tensor:
    return torch.rand(number, 3, 8, 8, generator=noise(1), dtype=torch.float64) * 2 - 1


@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("epsilon", [0.0, 0.05, 0.3])
def test_pgd_stays_in_its_ball_and_raises_the_loss(victim: nn.Module, norm: Any, epsilon: float) -> None:
    x = images()
    label = victim(x).argmax(1)

    def objective(images: Tensor) -> Tensor:
        return F.cross_entropy(victim(images), label, reduction="none")

    adversarial = PGD(epsilon=epsilon, steps=8, norm=norm).craft(x, objective, noise())
    delta = adversarial - x
    size = delta.abs().amax((1, 2, 3)) if norm == "linf" else norms(delta).flatten()
    assert size.max() <= epsilon + 1e-9
    assert adversarial.abs().max() <= 1
    assert not adversarial.requires_grad
    if epsilon:
        assert (objective(adversarial) > objective(x)).all()
    else:
        assert torch.equal(adversarial, x)


def test_restarts_never_do_worse_than_the_first_try(victim: nn.Module) -> None:
    x = images()
    label = victim(x).argmax(1)

    def objective(images: Tensor) -> Tensor:
        return F.cross_entropy(victim(images), label, reduction="none")

    once, often = (objective(PGD(epsilon=0.05, steps=1, restarts=n).craft(x, objective, noise())) for n in (1, 5))
    assert (often >= once).all()
    assert (often > once).any()


def test_a_random_start_fills_the_ball() -> None:
    x = torch.zeros(400, 1, 2, 2)
    for norm in ("linf", "l2"):
        delta = random_start(x, 0.5, norm, noise())  # type: ignore[arg-type]
        size = delta.abs().amax((1, 2, 3)) if norm == "linf" else norms(delta).flatten()
        assert size.max() <= 0.5 + 1e-6
        # Of a uniform draw in four dimensions, (1/2)^4 lies within half the radius.
        assert (size < 0.25).float().mean().item() == pytest.approx(1 / 16, abs=0.04)
        torch.testing.assert_close(project(delta * 3, 0.5, norm), project(delta * 3, 0.5, norm).clamp(-0.5, 0.5))  # type: ignore[arg-type]


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_a_group_of_images_is_perturbed_as_a_whole(norm: Any) -> None:
    torch.manual_seed(0)
    single, grouped = torch.rand(4, 6, 3, 3) - 0.5, torch.rand(4, 2, 3, 3, 3)
    grouped.copy_(single.view_as(grouped))
    for attack in (PGD(epsilon=0.3, norm=norm, restarts=2), PGD(epsilon=0.3, norm=norm, start="zero")):
        raised = attack.craft(single, lambda x: x.flatten(1).sin().sum(1), torch.Generator().manual_seed(1))
        again = attack.craft(grouped, lambda x: x.flatten(1).sin().sum(1), torch.Generator().manual_seed(1))
        assert torch.equal(raised.view_as(grouped), again)
    free = Free(channels=3, image_size=3, batch_size=4, group_size=2, norm=norm, epsilon=0.3)
    assert free.delta.shape == grouped.shape
    free.update(torch.randn_like(grouped), grouped)
    assert norms(free.delta).shape == (4, 1, 1, 1, 1)
    assert (norms(free.delta).max() if norm == "l2" else free.delta.abs().max()) <= 0.3 + 1e-6


def test_a_clamped_pixel_does_not_move_delta() -> None:
    attack = Free(channels=1, image_size=2, batch_size=1, epsilon=0.1, start="zero")
    attack.delta.fill_(0.05)
    x = torch.tensor([[[[1.0, 0.0], [-1.0, 0.99]]]])
    attack.update(torch.tensor([[[[-1.0, -1.0], [-1.0, 1.0]]]]), x)
    torch.testing.assert_close(attack.delta, torch.tensor([[[[0.05, -0.05], [-0.05, 0.05]]]]))


def test_fgsm_is_one_step_of_length_epsilon(victim: nn.Module) -> None:
    x = images() * 0.5
    label = victim(x).argmax(1)
    leaf = x.clone().requires_grad_()
    F.cross_entropy(victim(leaf), label).backward()
    assert leaf.grad is not None
    expected = x + 0.03 * leaf.grad.sign()
    torch.testing.assert_close(FGSM(epsilon=0.03).fool(x, label, victim, noise()), expected)


@pytest.mark.parametrize("norm", ["l2", "linf"])
def test_deepfool_crosses_the_nearest_boundary_of_a_linear_classifier(norm: Any) -> None:
    """For an affine classifier the least perturbation has a closed form, |gap| over the dual norm, which it must reach."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Flatten(), nn.Linear(3 * 64, 4)).double().requires_grad_(False)
    x = images() * 0.2
    logits = network(x)
    first = logits.argmax(1)
    weight = network[1].weight
    others = torch.tensor([[k for k in range(4) if k != int(f)] for f in first])
    gaps = logits.gather(1, first[:, None]) - logits.gather(1, others)
    lengths = (weight[first][:, None] - weight[others]).norm(p=1 if norm == "linf" else 2, dim=2)
    least = (gaps / lengths).amin(1)
    adversarial = DeepFool(norm=norm, clamp=False).fool(x, first, network, noise())
    delta = adversarial - x
    size = delta.abs().amax((1, 2, 3)) if norm == "linf" else norms(delta).flatten()
    assert (network(adversarial).argmax(1) != first).all()
    torch.testing.assert_close(size, 1.02 * (least + 1e-4), rtol=1e-6, atol=1e-9)


def test_deepfool_is_cut_to_its_budget(victim: nn.Module) -> None:
    x = images()
    label = victim(x).argmax(1)
    adversarial = DeepFool(epsilon=0.01).fool(x, label, victim, noise())
    assert norms(adversarial - x).max() <= 0.01 + 1e-9


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_the_margin_of_a_linear_classifier_of_two_classes_falls_as_far_as_it_can(norm: Any) -> None:
    """There the margin is affine, and its least value in the ball is epsilon times the dual norm of its slope away."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Flatten(), nn.Linear(3 * 64, 2)).double().requires_grad_(False)
    x = images() * 0.2
    label = network(x).argmax(1)
    attack = MarginPGD(epsilon=0.1, steps=10, norm=norm, clamp=False, start="zero")
    before, after = (
        network(of).gather(1, torch.stack([label, 1 - label], 1)) for of in (x, attack.fool(x, label, network, noise()))
    )
    slope = (network[1].weight[0] - network[1].weight[1]).norm(p=1 if norm == "linf" else 2)
    fall = (before[:, 0] - before[:, 1]) - (after[:, 0] - after[:, 1])
    torch.testing.assert_close(fall, (0.1 * slope).expand(len(x)), rtol=1e-3, atol=0)


def test_confidence_hides_from_cross_entropy_and_not_from_the_margin() -> None:
    """In float32 the softmax of logits a hundred apart is 0 and 1, and cross entropy has no slope."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Flatten(), nn.Linear(3 * 64, 4)).requires_grad_(False)
    x = images().float() * 0.2
    label = network(x).argmax(1)
    with torch.no_grad():
        gap = network(x).topk(2).values
        network[1].weight *= 200 / (gap[:, 0] - gap[:, 1]).min()
        network[1].bias *= 200 / (gap[:, 0] - gap[:, 1]).min()
    right = [
        (network(attack(epsilon=0.5, steps=10, start="zero").fool(x, label, network, noise())).argmax(1) == label).sum().item()
        for attack in (PGD, MarginPGD)
    ]
    assert right == [len(x), 0]


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_attacks_agree_with_foolbox(victim: nn.Module, norm: Any) -> None:
    foolbox = pytest.importorskip("foolbox")
    x = images()
    label = victim(x).argmax(1)
    model = foolbox.PyTorchModel(victim, bounds=(-1, 1))
    kind = "Linf" if norm == "linf" else "L2"
    name = "Linf" if norm == "linf" else "L2"
    theirs = getattr(foolbox.attacks, f"{name}ProjectedGradientDescentAttack")(
        abs_stepsize=0.02, steps=7, random_start=False
    ).run(model, x, label, epsilon=0.1)
    mine = PGD(epsilon=0.1, steps=7, step=0.02, norm=norm, start="zero").fool(x, label, victim, noise())
    torch.testing.assert_close(mine, theirs, rtol=1e-9, atol=1e-9)
    fast = getattr(foolbox.attacks, "FGSM" if norm == "linf" else "FGM")(random_start=False).run(model, x, label, epsilon=0.1)
    torch.testing.assert_close(FGSM(epsilon=0.1, norm=norm).fool(x, label, victim, noise()), fast, rtol=1e-9, atol=1e-9)
    deep = getattr(foolbox.attacks, f"{kind}DeepFoolAttack")(steps=50, candidates=10, overshoot=0.02, loss="logits")
    mine = DeepFool(norm=norm).fool(x, label, victim, noise())
    torch.testing.assert_close(mine, deep.run(model, x, label), rtol=1e-6, atol=1e-6)


def test_an_attack_of_another_library_is_the_same_attack(victim: nn.Module) -> None:
    pytest.importorskip("foolbox")
    x = images()
    label = victim(x).argmax(1)
    theirs = External(
        package="foolbox", name="LinfBasicIterativeAttack", epsilon=0.1, options={"abs_stepsize": 0.02, "steps": 7.0}
    )
    mine = PGD(epsilon=0.1, steps=7, step=0.02, start="zero")
    a, b = (attack.fool(x, label, victim, noise()) for attack in (theirs, mine))
    torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-9)
    with pytest.raises(GancoreError, match="foolbox has no attack 'Nothing'"):
        External(package="foolbox", name="Nothing")
    with pytest.raises(GancoreError, match="refuses its options"):
        External(package="foolbox", name="LinfPGD", options={"speed": 3}).fool(x, label, victim, noise())


def test_torchattacks_is_the_same_attack_and_is_cut_to_the_ball(victim: nn.Module) -> None:
    pytest.importorskip("torchattacks")
    x = images()
    label = victim(x).argmax(1)
    options = {"alpha": 0.01, "steps": 7, "random_start": 0}
    theirs = External(package="torchattacks", name="PGD", epsilon=0.1, options=options)
    mine = PGD(epsilon=0.1, steps=7, step=0.02, start="zero")
    a, b = (attack.fool(x, label, victim, noise()) for attack in (theirs, mine))
    torch.testing.assert_close(a, b, rtol=1e-6, atol=1e-6)
    unbounded = External(package="torchattacks", name="CW", epsilon=0.05, norm="l2", options={"steps": 5})
    assert norms(unbounded.fool(x, label, victim, noise()) - x).max() <= 0.05 + 1e-6


def test_a_library_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "autoattack", None)
    with pytest.raises(GancoreError, match="pip install autoattack"):
        External(package="autoattack", name="standard")


def test_a_euclidean_budget_may_be_longer_than_a_pixels_range() -> None:
    x = torch.zeros(2, 1, 4, 4)
    moved = PGD(epsilon=3.0, norm="l2", clamp=False).craft(x, lambda images: images.sum((1, 2, 3)), torch.Generator())
    assert torch.allclose(moved.flatten(1).norm(dim=1), torch.tensor(3.0))
    for epsilon in (-0.1, float("nan"), float("inf")):
        with pytest.raises(GancoreError, match="must be 0 or more, and finite"):
            PGD(epsilon=epsilon, norm="l2")


@pytest.mark.parametrize("epsilon", [-0.1, 2.5, float("nan"), float("inf")])
def test_a_budget_that_no_image_can_hold_is_refused(epsilon: float) -> None:
    for make in (lambda: PGD(epsilon=epsilon), lambda: Free(channels=1, image_size=2, batch_size=1, epsilon=epsilon)):
        with pytest.raises(GancoreError, match="it must be from 0 to 2"):
            make()


def test_restarts_from_one_image_are_refused() -> None:
    with pytest.raises(GancoreError, match="3 restarts from one image"):
        PGD(restarts=3, start="zero")

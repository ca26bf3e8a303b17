"""The objectives against what is known of them, and critics that learn on distributions whose divergences are known."""

from __future__ import annotations

import itertools
import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from gancore_divergences.objectives import Witness, gc, iw, ls
from gancore_divergences.score import Divergences
from gancore_standard.networks.mlp import MLPDiscriminator
from gancore_training import Evaluator
from torch import Tensor

import gancore
from gancore import GancoreError
from gancore.engine.devices import choose_device
from gancore.engine.run import Run
from gancore.plan.load import make_plan
from gancore.recipe.recipe import read
from gancore.registry import registry


def test_the_best_critics_of_two_discrete_distributions() -> None:
    # p = (3/4, 1/4) and q = (1/4, 3/4), each as four points.
    p, q = torch.tensor([0, 0, 0, 1]), torch.tensor([0, 1, 1, 1])
    share = torch.tensor([0.75, 0.25], dtype=torch.float64)  # of p in p + q at each place
    logits = (share / (1 - share)).log()
    js = sum(a * math.log(a / 0.5) for a in (0.75, 0.25))
    assert gc(logits[p], logits[q]).item() == pytest.approx(2 * js)
    assert ls(share[p], share[q]).item() == pytest.approx(0.5 - 2 * 0.75 * 0.25)
    for objective, best in ((gc, logits), (ls, share)):
        for change in itertools.product((-0.1, 0.0, 0.1), repeat=2):
            other = best + torch.tensor(change)
            assert objective(other[p], other[q]) <= objective(best[p], best[q])
        assert objective(torch.full((3,), best.mean()), torch.full((5,), best.mean())).item() == pytest.approx(0)
    assert iw(torch.tensor([3.0, 1.0]), torch.tensor([0.5])).item() == 1.5


def mmd(x: Tensor, y: Tensor, width: float) -> float:
    """The biased estimate, pair by pair."""

    def kernel(a: Tensor, b: Tensor) -> float:
        pairs = itertools.product(a.tolist(), b.tolist())
        values = [math.exp(-(math.dist(u, v) ** 2) / (2 * width**2)) for u, v in pairs]
        return sum(values) / len(values)

    return math.sqrt(kernel(x, x) + kernel(y, y) - 2 * kernel(x, y))


def test_the_witness_reaches_mmd_on_what_it_is_made_from_and_no_ball_is_left() -> None:
    rng = torch.Generator().manual_seed(0)
    x, y = torch.randn(20, 3, generator=rng).double(), 1 + torch.randn(30, 3, generator=rng).double()
    witness = Witness(x, y, 1.5)
    assert iw(witness(x), witness(y)).item() == pytest.approx(mmd(x, y, 1.5), rel=1e-9)
    other = Witness(x.flip(0) * 1.1, y * 0.9, 1.5)  # also of norm 1, so not above the best
    assert iw(other(x), other(y)) < iw(witness(x), witness(y))
    distances = sorted(math.dist(a, b) for a, b in itertools.combinations(x.tolist(), 2))
    assert Witness(x, y).bandwidth.item() == pytest.approx(distances[(len(distances) - 1) // 2])
    assert torch.equal(Witness(x, x, 1.0)(y), torch.zeros(30).double())


@pytest.mark.parametrize("number", [1, 4])
def test_a_kernel_without_a_width_is_refused(number: int) -> None:
    same = torch.ones(number, 2)
    with pytest.raises(GancoreError, match=r"^MMD: the median distance of the real images is 0; set the metric's bandwidth"):
        Witness(same, torch.zeros(3, 2))
    assert Witness(same, torch.zeros(3, 2), 1.0)(same).isfinite().all()


class Read(gancore.Images):
    """Counts which of the images are read."""

    def __init__(self, images: Tensor) -> None:
        self.images, self.shape = images, images.shape
        self.read_places = set[int]()

    def read(self, places: Tensor) -> Tensor:
        self.read_places.update(places.tolist())
        return self.images[places]


def test_of_a_set_that_is_read_by_index_no_more_is_read_than_looked_at() -> None:
    images = Read(torch.randint(0, 256, (4000, 1, 2, 2), generator=torch.Generator().manual_seed(0)).to(torch.uint8))
    info = gancore.DatasetInfo(classes=1, channels=1, image_size=2, class_names=("all",))
    dataset = SimpleNamespace(info=info, load=lambda _: (images, torch.zeros(4000).long()))
    run: Any = Shifted(0.0)
    run.plan = SimpleNamespace(dataset=dataset)
    run.latent = lambda number, *_: torch.zeros(number, 1, 2, 2)
    run.generate = lambda latents, _: latents
    run.build = lambda *_, **__: MLPDiscriminator(channels=1, image_size=2, hidden=4, depth=1)
    Divergences(critic_steps=3, critic_batch_size=5, most=20).score_run(run)
    # Those that are judged on, those that MMD's critic is made from, and three batches of each of the other critics.
    assert images.read_places >= {0, 200, 3800}
    assert len(images.read_places) <= 20 + 3 * 15


class Virtual(MLPDiscriminator):
    """A critic that is relative to a batch, as virtual batch norm is, and is none before it has one."""

    def __init__(self, seed: int) -> None:
        torch.manual_seed(seed)
        super().__init__(channels=2, image_size=1, hidden=4, depth=1)
        self.register_buffer("reference", torch.full((6, 2, 1, 1), torch.nan))

    def initialize(self, real: Tensor, noise: torch.Generator) -> None:
        assert self.training
        self.get_buffer("reference").copy_(real)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x - self.get_buffer("reference").mean(0))


def test_a_critic_that_starts_from_data_starts_from_a_batch_of_the_recipe() -> None:
    run: Any = Shifted(0.1)
    run.recipe = SimpleNamespace(evaluation=run.recipe.evaluation, run=SimpleNamespace(batch_size=6))
    critics: list[Virtual] = []
    run.build = lambda *_, seed: critics.append(Virtual(seed)) or critics[-1]
    scores = [Divergences(critic_steps=2, critic_batch_size=5).score_run(run) for _ in range(2)]
    assert scores[0] == scores[1]
    images = {tuple(point.flatten().tolist()) for point in Plane().load("train")[0]}
    references = [critic.get_buffer("reference") for critic in critics]
    assert all(tuple(point.flatten().tolist()) in images for reference in references for point in reference)
    assert not references[0].equal(references[1])


class Plane(gancore.Dataset):
    """Standard normal points."""

    info = gancore.DatasetInfo(classes=1, channels=2, image_size=1, class_names=("all",), continuous=True)

    def load(self, split: str) -> tuple[Tensor, Tensor]:
        rng = torch.Generator().manual_seed(0 if split == "train" else 1)
        points = 0.1 * torch.randn(4000, 2, 1, 1, generator=rng)
        return points, torch.zeros(4000).long()


class Shifted:
    """Stands for a run whose generator gives the data, moved."""

    device = torch.device("cpu")
    seed = 0
    plan = SimpleNamespace(dataset=Plane())
    recipe = SimpleNamespace(evaluation=SimpleNamespace(weights="ema"))

    def __init__(self, by: float) -> None:
        self.by = by

    def latent(self, number: int, *purpose: str | int) -> Tensor:
        return torch.randn(number, 2, 1, 1, generator=gancore.tools.noise_for("cpu", 0, "shifted", *purpose))

    def generate(self, latents: Tensor, weights: str) -> Tensor:
        return 0.1 * latents + torch.tensor([self.by, 0.0])[:, None, None]

    def build(self, kind: str, use: str, settings: Any, *, seed: int) -> MLPDiscriminator:
        torch.manual_seed(seed)
        return MLPDiscriminator(channels=2, image_size=1, hidden=32, depth=2)


def test_scores_rise_with_the_distance_and_are_what_is_known() -> None:
    metric = Divergences(critic_steps=400, penalty=10.0)
    values = [metric.score_run(Shifted(by)) for by in (0.0, 0.1, 0.3)]  # type: ignore[arg-type]
    for name in metric.better:
        first, second, third = (scores[name] for scores in values)
        assert first < second < third, name
        assert abs(first) < 0.1 * third, name
    # The Wasserstein distance of a shift is its length; the penalty lets a critic be a little steeper than 1.
    assert values[2]["iw"] == pytest.approx(0.3, rel=0.15)
    # Twice the Jensen-Shannon divergence of normal distributions 3 deviations apart, by quadrature.
    x = torch.linspace(-8, 11, 20001, dtype=torch.float64)
    p, q = (torch.exp(-(x - m).square() / 2) / math.sqrt(2 * math.pi) for m in (0, 3))
    js2 = torch.trapezoid(p * (2 * p / (p + q)).log() + q * (2 * q / (p + q)).log(), x).item()
    assert values[2]["gc"] == pytest.approx(js2, abs=0.05)
    # The population's MMD, in closed form for normal distributions.
    width = Witness(Plane().load("train")[0][:2000].flatten(1), torch.zeros(1, 2)).bandwidth.item()
    scale = width**2 / (width**2 + 2 * 0.1**2)
    assert values[2]["mmd"] == pytest.approx(
        math.sqrt(2 * scale * (1 - math.exp(-(0.3**2) / (2 * (width**2 + 2 * 0.1**2))))), rel=0.05
    )


def test_a_run_is_scored_and_a_critic_that_is_none_is_refused(tmp_path: Path) -> None:
    small = ["networks.annotator=false", "metrics.fid=false", "metrics.inception_score=false", "metrics.classes=false"]
    small += ["networks.generator.width=0.05", "networks.discriminator.width=0.05", "run.batch_size=8"]

    def run(*more: str) -> Run:
        words = [*small, "metrics.divergences.critic_steps=3", *more]
        recipe = read("divergences/digits", registry(), assignments=words)
        return Run(make_plan(recipe, registry()), choose_device("cpu"), {})

    scores = Evaluator(run())().values
    assert {f"divergences/{name}" for name in ("gc", "ls", "iw", "mmd")} == set(scores)
    assert all(math.isfinite(value) for value in scores.values())
    chosen = Evaluator(run('metrics.divergences.divergences=["mmd"]'))().values
    assert set(chosen) == {"divergences/mmd"}
    assert chosen["divergences/mmd"] == scores["divergences/mmd"]
    with pytest.raises(GancoreError, match="small-cnn is no discriminator"):
        Evaluator(run("metrics.divergences.critic=standard/small-cnn"))

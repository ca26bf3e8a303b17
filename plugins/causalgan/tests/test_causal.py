"""CausalGAN: graphs, interventions and conditions, the losses of labeler and anti-labeler, scores, the command, trainings."""

from __future__ import annotations

import inspect
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner
from gancore_causalgan.command import causal
from gancore_causalgan.controller import Controller, causal_order, parsed
from gancore_causalgan.datasets import Attributes, Faces, draw_attributes, draw_faces
from gancore_causalgan.latents import Causal
from gancore_causalgan.loops import FourPlayers
from gancore_causalgan.losses import AntiLabeler, Labeler
from gancore_causalgan.metrics import TotalVariation, Variety
from gancore_causalgan.networks import Labeler as LabelerNetwork
from gancore_training import TrainingRun, open_run, train
from torch import Tensor, nn

from gancore import GancoreError
from gancore.tools import check_table, make_plan, read, write_tensors
from tests.compose.hosts import CPU, registry, same, steps

GRAPH = ["male", "smiling <- male", "mustache <- male"]
NAMES = ["male", "smiling", "mustache"]
SMALL = [
    "run.batch_size=8",
    "run.iterations=2",
    "run.checkpoint_every=1",
    "data={use='causalgan/faces',images=60}",
    "networks.judge=false",
    "networks.generator.width=0.1",
    "networks.discriminator.width=0.1",
    "metrics=false",
]


class Table(nn.Module):
    """In the place of an F_i: there with chances that depend on the cause alone, by its noise, which is uniform on [-1, 1]."""

    def __init__(self, without: float, having: float) -> None:
        super().__init__()
        self.chances = without, having

    def forward(self, x: Tensor) -> Tensor:
        cause = x[:, 1] if x.shape[1] > 1 else torch.zeros(len(x))
        chance = torch.where(cause > 0.5, self.chances[1], self.chances[0])
        return (20 * (chance - (x[:, 0] + 1) / 2).sign())[:, None]


def known_controller() -> Controller:
    """A controller that is the causal model of the drawn faces, but that no woman has a mustache."""
    controller = Controller(graph=GRAPH, width=1, layers=1)
    tables = {"male": (0.5, 0.5), "smiling": (0.7, 0.4), "mustache": (0.0, 0.6)}
    for name, chances in tables.items():
        controller.functions[controller._key(name)] = Table(*chances)
    return controller.eval()


def latent_of(controller: Controller) -> Causal:
    prior = Causal(latent_dim=4, attributes=3)
    prior.__dict__["read"] = controller
    return prior


def drawn(do: dict[str, int] | None = None, given: dict[str, int] | None = None, number: int = 20000) -> Tensor:
    noise = torch.Generator().manual_seed(0)
    return latent_of(known_controller()).draw_under(number, noise, do, given).label.double()


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    path = tmp_path / "controller.safetensors"
    write_tensors(path, Controller(graph=GRAPH).state_dict(), {})
    return path


def faces(weights: Path, *settings: str) -> TrainingRun:
    recipe = read("causalgan/faces", registry(), assignments=[*SMALL, f"networks.controller.weights='{weights}'", *settings])
    return TrainingRun(make_plan(recipe, registry()), CPU)


# -- the graph and its controller --------------------------------------------------------------------------------------


def test_causes_come_first_whatever_the_order_of_the_attributes() -> None:
    order = causal_order(parsed(["d <- b, c", "b <- a", "c<-a", " a "]))
    assert order[0] == "a"
    assert order[-1] == "d"


@pytest.mark.parametrize(
    ("graph", "sentence"),
    [
        (["a <- b", "b <- a"], "graph has a circle, "),
        (["a <- a"], "a <- a"),
        (["a <- smoking"], "graph says that 'smoking' causes 'a', and has no 'smoking'"),
        ([], "graph names no attribute"),
        (["a", "b <- a,"], "graph says 'b <- a,'; write each attribute once"),
        (["a", "a"], "graph says 'a'; write each attribute once"),
    ],
)
def test_what_is_no_causal_graph_is_refused(graph: list[str], sentence: str) -> None:
    with pytest.raises(GancoreError) as caught:
        Controller(graph=graph)
    assert sentence in str(caught.value)
    assert len(str(caught.value)) <= 400


def test_an_attribute_depends_on_its_noise_and_on_that_of_its_causes_alone() -> None:
    controller = Controller(graph=["late <- early", "apart", "early"], width=4, layers=2)
    z = torch.rand(200, 12, generator=torch.Generator().manual_seed(0)) * 2 - 1
    for number, moves in enumerate(({0}, {1}, {0, 2})):
        other = z.clone()
        other[:, 4 * number : 4 * number + 4] = other[:, 4 * number : 4 * number + 4].flip(0)
        # Rounded, a cause seldom is another; where F is set to tell 0 and 1 apart, its effect is.
        with torch.no_grad():
            controller.functions["early of nothing"][-1].bias.zero_()
            changed = (controller.chances(z) - controller.chances(other)).abs().amax(0) > 0
        assert {place for place, moved in enumerate(changed.tolist()) if moved} <= moves
        assert changed[number]


def test_an_intervention_is_seen_by_effects_and_ignores_causes() -> None:
    controller = Controller(graph=GRAPH, width=4, layers=2)
    z = torch.rand(50, 12) * 2 - 1
    male, smiling, mustache = NAMES
    free, changed = controller.chances(z), controller.chances(z, {smiling: 1})
    assert torch.equal(changed[:, [0, 2]], free[:, [0, 2]])
    assert torch.equal(changed[:, 1], torch.ones(50))
    by_hand = torch.sigmoid(controller.functions[f"{mustache} of {male}"](torch.cat([z[:, 8:], torch.ones(50, 1)], 1)))
    torch.testing.assert_close(controller.chances(z, {male: 1})[:, 2:], by_hand)


def test_each_function_learns_by_its_own_output_alone() -> None:
    controller = Controller(graph=GRAPH, width=4, layers=2)
    controller(torch.rand(50, 12) * 2 - 1)[:, 2].sum().backward()
    moved = {name for name, function in controller.functions.items() for p in function.parameters() if p.grad.any()}
    assert moved == {"mustache of male"}


def test_weights_for_other_causes_are_refused() -> None:
    state = Controller(graph=GRAPH).state_dict()
    assert {name.rpartition(".")[0].rpartition(".")[0] for name in state} == {
        "functions.male of nothing",
        "functions.smiling of male",
        "functions.mustache of male",
    }
    with pytest.raises(RuntimeError, match="mustache of smiling"):
        Controller(graph=["male", "smiling <- male", "mustache <- smiling"]).load_state_dict(state)


# -- observing, conditioning, intervening ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "graph",
    [["a.b", "a_b"], ["a.b", "a%2Eb"], ["c", "b of c", "a <- b of c", "a of b <- c"], ["Fräulein Müller", "fräulein müller"]],
)
def test_attributes_of_like_names_are_apart(graph: list[str]) -> None:
    controller = Controller(graph=graph, width=1, layers=1)
    assert len(controller.functions) == len(graph)
    again = Controller(graph=graph, width=1, layers=1)
    again.load_state_dict(controller.state_dict())
    z = torch.rand(5, len(graph), generator=torch.Generator().manual_seed(0)) * 2 - 1
    assert torch.equal(again.chances(z), controller.chances(z))
    assert len({tuple(column.tolist()) for column in controller.chances(torch.zeros(5, len(graph))).T}) == len(graph)


def test_samples_are_those_of_the_causal_model() -> None:
    male, smiling, mustache = drawn().mean(0).tolist()
    assert (male, smiling, mustache) == pytest.approx((0.5, 0.55, 0.3), abs=0.015)


def test_to_set_an_effect_is_not_to_see_it() -> None:
    """P(male | mustache) = 1, and P(male | do(mustache)) = P(male): the paper's example."""
    assert drawn(given={"mustache": 1}).mean(0).tolist() == pytest.approx([1.0, 0.4, 1.0], abs=0.015)
    assert drawn(do={"mustache": 1}).mean(0).tolist() == pytest.approx([0.5, 0.55, 1.0], abs=0.015)


def test_to_set_a_cause_changes_its_effects() -> None:
    assert drawn(do={"male": 0}).mean(0).tolist() == pytest.approx([0.0, 0.7, 0.0], abs=0.015)
    both = drawn(do={"mustache": 1}, given={"male": 0, "smiling": 1})
    assert torch.equal(both, torch.tensor([0.0, 1.0, 1.0]).double().expand(20000, 3))


def test_what_never_comes_out_and_what_there_is_not_is_told() -> None:
    with pytest.raises(GancoreError, match=r"of 5000 draws 0 have male=0, mustache=1, and 5 are asked for"):
        drawn(given={"male": 0, "mustache": 1}, number=5)
    with pytest.raises(GancoreError, match="there is no attribute 'bald'; the controller has male, smiling, mustache"):
        drawn(do={"bald": 1})


def test_draws_under_a_condition_are_those_of_the_same_noise_that_meet_it() -> None:
    prior, noise = latent_of(known_controller()), torch.Generator().manual_seed(3)
    all_of_them = prior.draw_under(100, noise).label
    noise.manual_seed(3)
    some = prior.draw_under(100, noise, given={"smiling": 0}).label
    first = all_of_them[all_of_them[:, 1] == 0]
    assert torch.equal(some[: len(first)], first)


# -- the losses --------------------------------------------------------------------------------------------------------


def by_hand(target: list[list[float]], chance: list[list[float]]) -> float:
    pairs = [(t, p) for row, other in zip(target, chance, strict=True) for t, p in zip(row, other, strict=True)]
    return -sum(t * math.log(p) + (1 - t) * math.log(1 - p) for t, p in pairs) / len(pairs)


LOGITS = torch.tensor([[2.0, -1.0], [0.5, 3.0]], dtype=torch.float64)
LABEL = torch.tensor([[1, 0], [0, 1]])
CHANCE = LOGITS.sigmoid().tolist()
SMOOTH = [[0.7, 0.3], [0.3, 0.7]]


@pytest.mark.parametrize(("smoothing", "target"), [(0.0, LABEL.double().tolist()), (0.3, SMOOTH)])
def test_the_losses_in_the_paper_s_roles(smoothing: float, target: list[list[float]]) -> None:
    expected = pytest.approx(by_hand(target, CHANCE), abs=1e-9)
    labeler, anti = Labeler(attributes=2, smoothing=smoothing), AntiLabeler(attributes=2, smoothing=smoothing, decay=0)
    assert float(labeler.labeler(real_labeler=LOGITS, real_label=LABEL)) == expected
    assert float(labeler.classifier(real_classifier=LOGITS, real_label=LABEL)) == expected
    assert float(labeler.generator(fake_labeler=LOGITS, fake_label=LABEL)) == expected
    assert float(anti.antilabeler(fake_antilabeler=LOGITS, fake_label=LABEL)) == expected
    mine = anti.generator(fake_antilabeler=LOGITS, fake_label=LABEL, iteration=torch.tensor(7))
    assert -float(mine) == expected


def test_the_losses_in_the_code_s_roles() -> None:
    expected = pytest.approx(by_hand(CHANCE, SMOOTH), abs=1e-9)
    settings: dict[str, Any] = {"attributes": 2, "smoothing": 0.3, "flipped": True}
    assert float(Labeler(**settings).generator(fake_labeler=LOGITS, fake_label=LABEL)) == expected
    assert float(AntiLabeler(**settings).antilabeler(fake_antilabeler=LOGITS, fake_label=LABEL)) == expected
    real = Labeler(**settings).labeler(real_labeler=LOGITS, real_label=LABEL)
    assert float(real) == pytest.approx(by_hand(SMOOTH, CHANCE), abs=1e-9)


def test_the_anti_labeler_s_weight_in_the_generator_s_loss_decays() -> None:
    anti = AntiLabeler(attributes=2, decay=50.0)
    first, later = (
        float(anti.generator(fake_antilabeler=LOGITS, fake_label=LABEL, iteration=torch.tensor(t))) for t in (0, 100)
    )
    assert later / first == pytest.approx(math.exp(-2), rel=1e-6)
    # exp(-1/3000) in each of the code's steps, in which the generator is updated twice: here six times an iteration.
    assert inspect.signature(AntiLabeler).parameters["decay"].default == 3000 * 2 / FourPlayers().generator_steps


def test_flipped_roles_need_smoothing_and_all_need_attributes() -> None:
    for smoothing in (0.0, 1e-9):
        with pytest.raises(GancoreError, match=r"flipped roles need a smoothing of at least 1e-06, e\.g\. 0\.3"):
            Labeler(attributes=2, smoothing=smoothing, flipped=True)
    least = Labeler(attributes=2, smoothing=1e-6, flipped=True)
    assert least.generator(fake_labeler=LOGITS.float(), fake_label=LABEL).isfinite()
    for cls in (Labeler, AntiLabeler):
        with pytest.raises(GancoreError, match="the data have classes in their place"):
            cls(attributes=0)
    with pytest.raises(GancoreError, match="choose data with attributes"):
        Causal(latent_dim=4)


# -- data and scores ---------------------------------------------------------------------------------------------------


def test_faces_follow_their_causal_model_and_show_their_attributes() -> None:
    _, attributes = Faces(images=4000).load("train")
    assert attributes.double().mean(0).tolist() == pytest.approx([0.5, 0.55, 0.35], abs=0.03)
    men = attributes[attributes[:, 2] == 1, 0].double().mean()
    assert float(men) == pytest.approx(0.6 / 0.7, abs=0.03)
    independent = Faces(images=4000, independent=True).load("train")[1]
    assert independent.double().T.corrcoef().fill_diagonal_(0).abs().max() < 0.06
    every = torch.tensor([[m, s, b] for m in (0, 1) for s in (0, 1) for b in (0, 1)])
    pictures = draw_faces(every.repeat_interleave(40, 0), 16, torch.Generator().manual_seed(0)).double().view(8, 40, -1).mean(1)
    assert torch.cdist(pictures, pictures).fill_diagonal_(1e9).min() > 100


def test_attributes_that_are_set_do_not_move_their_causes() -> None:
    noise = torch.Generator().manual_seed(0)
    attributes = draw_attributes(20000, noise, {"mustache": 1}).double().mean(0)
    assert attributes.tolist() == pytest.approx([0.5, 0.55, 1.0], abs=0.015)


def test_attributes_become_points() -> None:
    points, _ = Attributes(of="causalgan/faces", settings={"images": 40}).load("test")
    assert torch.equal(points.flatten(1), 2.0 * Faces(images=40).load("test")[1] - 1)
    with pytest.raises(GancoreError, match="standard/digits has no attributes, but classes"):
        Attributes(of="standard/digits")


def test_total_variation_is_half_the_sum_of_differences() -> None:
    metric = TotalVariation()
    real, fake = [[0, 0], [0, 1], [1, 1], [1, 1]], [[0, 0], [0, 0], [1, 0], [1, 1]]
    metric.update_real(images=torch.tensor(real).float()[:, :, None, None] * 2 - 1)
    metric.update(images=torch.tensor(fake).float()[:, :, None, None] * 1.2 - 0.7)
    assert metric.compute() == {"distance": pytest.approx((0.25 + 0.25 + 0.25 + 0.25) / 2)}
    for images in (torch.ones(2, 1, 8, 8), torch.full((2, 2, 1, 1), 0.3)):
        with pytest.raises(GancoreError, match="is of attributes as points, and the data are none"):
            metric.update_real(images=images)


def test_variety_is_the_variance_of_images_of_the_same_attributes_beside_the_data_s() -> None:
    torch.manual_seed(0)
    labels = torch.tensor([[0, 1], [1, 1]]).repeat(300, 1)
    means = 5 * labels[:, :1, None, None].float()
    metric = Variety(attributes=2)
    metric.update_real(images=means + torch.randn(600, 1, 4, 4), labels=labels)
    for scale in (0.0, 0.5, 1.0):
        metric.reset()
        metric.update(images=means + scale * torch.randn(600, 1, 4, 4), labels=labels)
        assert metric.compute()["variety"] == pytest.approx(scale**2, abs=0.05)
    metric.reset()
    metric.update(images=torch.zeros(2, 1, 4, 4), labels=labels[:2])
    with pytest.raises(GancoreError, match="two images of one combination"):
        metric.compute()
    # Of one face that the data have twice nothing can vary less.
    again = Variety(attributes=2)
    again.update_real(images=torch.cat([torch.ones(2, 1, 4, 4), torch.randn(2, 1, 4, 4)]), labels=labels[[0, 0, 1, 1]])
    again.update(images=torch.zeros(4, 1, 4, 4), labels=labels[[0, 0, 1, 1]])
    assert again.compute()["variety"] == 0
    with pytest.raises(GancoreError, match="the data have none"):
        Variety()


# -- trainings ---------------------------------------------------------------------------------------------------------


def test_the_recipe_trains_all_four_and_goes_on_to_the_last_bit(weights: Path) -> None:
    whole, half = steps(faces(weights), 3), steps(faces(weights), 1)
    again = faces(weights)
    again.restore({name: value.clone() for name, value in half.tensors().items()}, half.counters(), half.numbers())
    assert same(whole, steps(again, 2)) == []
    assert whole.losses.keys() == {
        "generator/adversarial",
        "discriminator/adversarial",
        *(f"{player}/{term}" for term in ("labeler", "antilabeler") for player in ("generator", term)),
    }
    assert not [name for name in whole.tensors() if "controller" in name]


def test_each_player_takes_the_steps_that_the_loop_says(weights: Path) -> None:
    run, turns = faces(weights, "loop.generator_steps=3", "loop.discriminator_steps=2"), []
    run.phase = lambda player, *_: turns.append(player)  # type: ignore[method-assign, misc, assignment]
    run.parts.loop.iteration(run)  # type: ignore[arg-type]
    assert turns == ["generator"] * 3 + ["discriminator", "labeler", "antilabeler", "discriminator"]


def test_the_generator_is_asked_for_what_the_controller_draws(weights: Path) -> None:
    run, asked = faces(weights), []
    run.networks["generator"].register_forward_pre_hook(lambda _, arguments: asked.append(arguments[1]))
    batch = run.fresh()
    run.phase("generator", batch)
    assert batch.fake_label is not None
    assert torch.equal(asked[-1], batch.fake_label)
    assert run.networks["controller"].names == NAMES


def test_fragments_make_the_recipe_of_the_plain_one(weights: Path) -> None:
    overlays = ["causalgan/controlled", "causalgan/labelers"]
    more = [f"networks.controller.weights='{weights}'", "losses.antilabeler.decay=300.0", "loop.generator_steps=1"]
    recipe = read("causalgan/faces-plain", registry(), overlays=overlays, assignments=[*SMALL, *more])
    assert same(steps(faces(weights), 2), steps(TrainingRun(make_plan(recipe, registry()), CPU), 2)) == []


def test_a_controller_of_other_attributes_is_refused(weights: Path) -> None:
    turned = ["smiling <- male", "male", "mustache <- male"]
    with pytest.raises(GancoreError) as caught:
        faces(weights, f"networks.controller.graph={turned}")
    assert "has the attributes smiling, male, mustache, and the data male, smiling, mustache" in str(caught.value)


@pytest.mark.parametrize("fragment", ["causalgan/controlled", "causalgan/labelers"])
def test_data_with_classes_are_refused(fragment: str, weights: Path) -> None:
    settings = ["networks.controller.weights='" + str(weights) + "'"] if fragment.endswith("controlled") else []
    recipe = read("sdgan/digits", registry(), overlays=[fragment], assignments=["metrics=false", *settings])
    with pytest.raises(GancoreError, match="choose data with attributes"):
        TrainingRun(make_plan(attrs_free(recipe), registry()), CPU)


def attrs_free(recipe: Any) -> Any:
    """The recipe of single images: pairs are refused before attributes are."""
    table = {**recipe.table, "samplers": False, "networks": {**recipe.table["networks"], "annotator": False}}
    return check_table(table, registry(), name=recipe.name)


def test_the_command_writes_images_and_says_how_often_each_attribute_is_there(weights: Path, tmp_path: Path) -> None:
    recipe = read("causalgan/faces", registry(), assignments=[*SMALL, f"networks.controller.weights='{weights}'"])
    train(recipe, registry(), tmp_path / "run", device=CPU)
    assert open_run(tmp_path / "run", registry(), CPU).networks["controller"].names == NAMES
    words = ["sample", str(tmp_path / "run"), "--n", "9", "--device", "cpu"]
    outcome = CliRunner().invoke(causal, [*words, "--do", "smiling=1", "--do", "male=0", "--out", str(tmp_path / "x.png")])
    assert outcome.exit_code == 0, outcome.output
    assert outcome.output.startswith("male 0.00  smiling 1.00  mustache ")
    assert (tmp_path / "x.png").stat().st_size > 100
    for wrong, sentence in (
        (["--do", "smiling=2"], "--do 'smiling=2' is not of the form NAME=0 or NAME=1"),
        (["--given", "male=0", "--given", "male=1"], "--given says both 0 and 1 of 'male'"),
        (["--do", "bald=1"], "there is no attribute 'bald'"),
    ):
        refused = CliRunner().invoke(causal, [*words, *wrong])
        assert isinstance(refused.exception, GancoreError)
        assert sentence in str(refused.exception)


def test_the_command_refuses_a_run_without_a_controller(tmp_path: Path) -> None:
    recipe = read("causalgan/faces-plain", registry(), assignments=SMALL)
    train(recipe, registry(), tmp_path / "run", device=CPU)
    refused = CliRunner().invoke(causal, ["sample", str(tmp_path / "run"), "--device", "cpu"])
    assert "draws its attributes from no causal controller" in str(refused.exception)


def test_a_controller_learns_the_joint_distribution() -> None:
    """Some iterations bring it nearer to the data than it began."""
    recipe = read("causalgan/controller", registry(), assignments=["run.iterations=120", "data.settings={images=400}"])
    run = TrainingRun(make_plan(recipe, registry()), CPU)

    def distance() -> float:
        metric = TotalVariation()
        metric.update_real(images=run.plan.dataset.load("train")[0])
        metric.update(images=run.generate(run.latent(2000, "test")))
        return float(metric.compute()["distance"])

    before = distance()
    assert before > 0.3
    assert {type(run.networks["generator"]), type(steps(run, 120).networks["generator"])} == {Controller}
    assert distance() < before - 0.1


def test_the_labeler_is_one_of_attributes() -> None:
    assert LabelerNetwork(channels=3, image_size=20, attributes=5, maps=4)(torch.randn(2, 3, 20, 20)).shape == (2, 5)
    with pytest.raises(GancoreError, match="at least 8 px"):
        LabelerNetwork(channels=1, image_size=4, attributes=2)

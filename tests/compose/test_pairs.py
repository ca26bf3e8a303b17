"""Composition: every pair of shipped fragments trains, or is refused in a sentence; what trains resumes to the last bit.

Of the pairs, one in `RESUMED` resumes here; all of them with ``GANCORE_PAIRS=all``.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Mapping
from itertools import combinations
from pathlib import Path

import pytest
import torch
from gancore_training import TrainingRun, checkpoint, prerequisites, recipe_digest

from gancore import GancoreError
from gancore.files import toml
from gancore.plan.load import make_plan
from gancore.recipe.recipe import read
from gancore.registry import registry
from tests.compose.hosts import CPU, same, steps

BASE = "cbgan/digits-lt-baseline"
SMALL = [
    "run.batch_size=8",
    "run.iterations=4",
    "run.precision=float32",
    "networks.generator.width=0.05",
    "networks.discriminator.width=0.05",
    "networks.annotator=false",
    "metrics=false",
]

FRAGMENTS = sorted(
    name
    for name, path in registry().recipes().items()
    if str(toml.read(path).get("summary", "")).startswith("Fragment")
    and toml.read(path).keys() & {"losses", "attacks", "loop", "heads", "optimizers", "sources", "samplers"}
)

REFUSED = {
    ("causalgan/labelers", "fastrobgan/free"): "they set loop.use",
    ("fastrobgan/free", "fastrobgan/no-attack"): "they set attacks.free.epsilon",
    ("fastrobgan/free", "fastrobgan/pgd"): "a recipe takes one attack",
    ("cbgan/class-balance", "uap/prior"): "they set losses.balance.weight",
    ("amgan/ac-gan-star", "fastrobgan/acgan-loss"): "judges images by labels",
    ("amgan/ac-gan-star", "fastrobgan/robgan-loss"): "judges images by labels",
    ("amgan/ac-gan-star-plus", "fastrobgan/acgan-loss"): "judges images by labels",
    ("amgan/ac-gan-star-plus", "fastrobgan/robgan-loss"): "judges images by labels",
    ("causalgan/labelers", "sdgan/pairs"): "networks.antilabeler (causalgan/labeler) takes one image a sample",
    **{("sdgan/pairs", f"standard/{head}"): "has no setting 'conditional'" for head in ("concatenation", "projection")},
    ("dsgan/difference", "improvedgan/minibatch"): "looks at its whole batch",
    ("fastrobgan/acgan-loss", "improvedgan/semi-supervised"): "judges images by labels that",
    ("fastrobgan/robgan-loss", "improvedgan/semi-supervised"): "judges images by labels that",
}


def that_set(group: str) -> list[str]:
    """Return the fragments that say what the adversarial loss or head is."""
    adversarial = {name: toml.read(registry().recipes()[name]).get(group, {}).get("adversarial") for name in FRAGMENTS}
    return [name for name, table in adversarial.items() if isinstance(table, dict) and "use" in table]


HEADS, GAMES = that_set("heads"), that_set("losses")
REFUSED |= dict.fromkeys(combinations(HEADS, 2), "they set heads.adversarial.use")
REFUSED |= dict.fromkeys(combinations(GAMES, 2), "they set losses.adversarial")
MEASUREMENTS = [name for name in FRAGMENTS if name.startswith("ambientgan/")]
REFUSED |= dict.fromkeys(combinations(MEASUREMENTS, 2), "they set samplers.measurement")
REFUSED["standard/wgan-gp", "standard/wgan-lp"] = "they set losses.penalty.one_sided"
for penalty in ("standard/wgan-gp", "standard/wgan-lp"):
    del REFUSED["sobolevgan/constraint", penalty]  # both bring one and the same objective
"""Pairs that can't be, and a part of the sentence that says so."""

ALONE_REFUSED = {
    "causalgan/labelers": "the data have classes in their place",
    "fastrobgan/no-attack": "attacks.free has no `use`",
    "fastrobgan/no-uniform": "uniform",
    "fastrobgan/acgan-loss": "which nothing in this recipe provides",
    "fastrobgan/robgan-loss": "which nothing in this recipe provides",
    "uap/prior": "which nothing in this recipe provides",
    "ctwgan/class-consistency": "which nothing in this recipe provides",
    "improvedgan/label-smoothing": "no setting 'real_target'",
}
"""Fragments that stand on another one."""

OFTEN_REFUSED = {
    "sdgan/pairs": (
        "networks.classifier (standard/small-cnn) takes one image a sample",
        "(sdgan/discriminator) looks at its whole batch",
        "judges images by labels that cbgan/digits-lt-baseline",
    ),
}
"""Fragments beside which many others can't be: where these see images, sdgan/pairs gives them pairs."""


RESUMED = 1 if os.environ.get("GANCORE_PAIRS") == "all" else 4
"""One of so many pairs is resumed; the others are stepped once."""


def build(*fragments: str, base: str = BASE) -> TrainingRun:
    recipe = read(base, registry(), overlays=fragments, assignments=SMALL)
    plan = make_plan(recipe, registry())
    weights = {}
    if "classifier" in plan.networks:
        # Its training is not what is tested; any weights will do.
        weights["networks.classifier"] = _classifier(plan.networks["classifier"].settings)
    return TrainingRun(plan, CPU, weights)


def _classifier(settings: dict[str, object]) -> Path:
    from gancore_standard.networks.small_cnn import SmallCNN

    from gancore.files.tensors import write_tensors

    torch.manual_seed(0)
    network = SmallCNN(channels=1, image_size=8, classes=10, **settings)  # type: ignore[arg-type]
    path = _FOLDER / "classifier.safetensors"
    write_tensors(path, network.state_dict(), {})
    return path


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path) -> None:
    global _FOLDER
    _FOLDER = tmp_path


def resumes(fragments: tuple[str, ...], folder: Path, base: str = BASE) -> list[str]:
    whole = steps(build(*fragments, base=base), 4)
    half = steps(build(*fragments, base=base), 2)
    checkpoint.save(half, folder)
    again = build(*fragments, base=base)
    checkpoint.load(again, checkpoint.checkpoints(folder)[-1])
    return same(whole, steps(again, 2))


def built_or_refused(fragments: tuple[str, ...]) -> TrainingRun | str:
    """Return the run of some fragments, or the sentence that refuses them."""
    try:
        return build(*fragments)
    except GancoreError as error:
        return str(error)


def check_pair(pair: tuple[str, str], refused: Mapping[tuple[str, str], str], folder: Path) -> None:
    """Ask that a pair is refused for one of the reasons that are known, or else trains; one of `RESUMED` pairs resumes too."""
    sentences = [refused[pair]] if pair in refused else [ALONE_REFUSED[name] for name in pair if name in ALONE_REFUSED]
    sentences += [sentence for name in pair for sentence in OFTEN_REFUSED.get(name, ())]
    outcome = built_or_refused(pair)
    if isinstance(outcome, str):
        assert any(sentence in outcome for sentence in sentences), outcome
        assert "\n" not in outcome
        return
    assert pair not in refused
    if zlib.crc32(" + ".join(pair).encode()) % RESUMED:
        assert steps(outcome, 1).iteration == 1
    else:
        assert resumes(pair, folder) == []


@pytest.mark.parametrize("name", FRAGMENTS)
def test_each_fragment_alone(name: str, tmp_path: Path) -> None:
    if name in ALONE_REFUSED:
        with pytest.raises(GancoreError, match=ALONE_REFUSED[name]):
            build(name)
        return
    assert resumes((name,), tmp_path / "run") == []


@pytest.mark.parametrize("pair", list(combinations(FRAGMENTS, 2)), ids=" + ".join)
def test_each_pair_of_fragments(pair: tuple[str, str], tmp_path: Path) -> None:
    check_pair(pair, REFUSED, tmp_path / "run")


@pytest.mark.parametrize("order", [1, -1])
def test_the_order_of_fragments_does_not_matter(order: int) -> None:
    pair = ("cbgan/class-balance", "fastrobgan/free")[::order]
    assert same(steps(build("cbgan/class-balance", "fastrobgan/free"), 2), steps(build(*pair), 2)) == []


@pytest.mark.parametrize("base", ["cbgan/digits-lt", "fastrobgan/digits-small", "fastrobgan/digits-small-robgan"])
def test_a_difference_over_other_papers_recipes(base: str, tmp_path: Path) -> None:
    run = build("dsgan/difference", base=base)
    batch = run.fresh()
    assert len(batch.joined["fake"][0]) == 6  # 0.8 of 8, rounded down
    alone = steps(build(base=base), 2)
    assert same(alone, steps(build("dsgan/difference", base=base), 2)) != []
    assert resumes(("dsgan/difference",), tmp_path / "run", base) == []


def test_the_whole_of_two_papers_together(tmp_path: Path) -> None:
    fragments = ("cbgan/class-balance", "fastrobgan/free", "fastrobgan/loss", "fastrobgan/no-anneal")
    run = build(*fragments)
    assert set(run.terms) == {"adversarial", "balance"}
    assert run.attack is not None
    before = run.attack.delta.clone()
    steps(run, 2)
    assert not torch.equal(run.attack.delta, before)
    assert resumes(fragments, tmp_path / "run") == []


@pytest.mark.parametrize("fragment", FRAGMENTS)
def test_what_a_recipe_trains_first_can_be_trained_whatever_is_laid_over_it(fragment: str) -> None:
    try:
        plan = make_plan(read("cbgan/digits-lt", registry(), overlays=[fragment]), registry())
    except GancoreError:
        pytest.skip("refused whole, as other tests ask")
    places = prerequisites.wanted(plan)
    assert "networks.classifier" in places
    for place in places:
        make_plan(prerequisites.training_recipe(plan, place), registry())


def test_a_classifier_inherits_which_images_take_part_and_not_what_the_game_does_to_them() -> None:
    plans = [
        make_plan(read("cbgan/digits-lt", registry(), overlays=overlays), registry()) for overlays in ([], ["dsgan/difference"])
    ]
    recipes = [prerequisites.training_recipe(plan, "networks.classifier") for plan in plans]
    assert [list(recipe.table["samplers"]) for recipe in recipes] == [["long_tail"], ["long_tail"]]
    assert recipe_digest(recipes[0]) == recipe_digest(recipes[1])

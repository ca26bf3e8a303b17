"""Training and looking at runs from Python: the same as on the command line, bit for bit, and as clear where it is refused."""

from __future__ import annotations

import asyncio
import base64
import json
import random
import re
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gancore_training
import numpy as np
import pytest
import torch
from gancore_training.run_folder import entries
from gancore_training.trained import TrainedRun
from torch import Tensor

import gancore
from gancore.files import read_tensors, toml
from tests.cli.test_cli import run as command
from tests.hosts import CONDITIONAL, installed, registry

RECIPE = f"""
[run]
iterations = 6
batch_size = 8
latent_dim = 4
precision = "float32"
log_every = 2
{CONDITIONAL}
[ema]
decay = 0.9
"""


class Pull(gancore.LossTerm):
    """Draws what the discriminator sees of generated images to a level."""

    def __init__(self, *, level: float = 0.5) -> None:
        super().__init__()
        self.level = level

    def generator(self, *, fake_adversarial: Tensor) -> Tensor:
        return (fake_adversarial - self.level).square().mean()


class Makes(gancore.Generator):
    """The smallest generator of digits."""

    def __init__(self, *, latent_dim: int) -> None:
        super().__init__()
        self.latent_dim = latent_dim
        self.linear = torch.nn.Linear(latent_dim, 64)

    def forward(self, z: Tensor, label: Tensor | None = None) -> Tensor:
        images: Tensor = self.linear(z).tanh().view(-1, 1, 8, 8)
        return images


PULL: dict[str, Any] = {"losses.pull": {"use": Pull, "weight": 0.1, "level": 2}}

FILE = """
import gancore

class Pull(gancore.LossTerm):
    def __init__(self, *, level: float = 0.5) -> None:
        super().__init__()
        self.level = level

    def generator(self, *, fake_adversarial):
        return (fake_adversarial - self.level).square().mean()
"""


@pytest.fixture(scope="module", autouse=True)
def _plugins_of_tests() -> Iterator[None]:
    with installed(registry(training=gancore_training)):
        yield


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("recipes") / "tiny.toml"
    path.write_text(RECIPE)
    return path


@pytest.fixture(scope="module")
def trained(recipe: Path, tmp_path_factory: pytest.TempPathFactory) -> TrainedRun:
    return gancore.train(recipe, out=tmp_path_factory.mktemp("runs") / "trained")


def told(folder: Path) -> list[Any]:
    """What a run's log says of its losses."""
    return [(entry["iteration"], entry["losses"]) for entry in entries(folder / "log.jsonl")]


def weights(folder: Path) -> dict[str, Tensor]:
    """The tensors of a run's newest checkpoint."""
    return read_tensors(max((folder / "checkpoints").iterdir()), sealed=True)[0]


def same(one: Path, two: Path) -> bool:
    a, b = weights(one), weights(two)
    return told(one) == told(two) and a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


# -- the same as the command line --------------------------------------------------------------------------------------


def test_a_run_is_the_command_lines_bit_for_bit(trained: TrainedRun, recipe: Path, tmp_path: Path) -> None:
    done = command("train", recipe, "--out", tmp_path / "run")
    assert done.exit_code == 0, done.output
    assert told(trained.path)
    assert same(trained.path, tmp_path / "run")
    assert (tmp_path / "run" / "recipe.toml").read_text() == (trained.path / "recipe.toml").read_text()


def test_what_is_laid_over_and_set_means_what_it_does_on_the_command_line(recipe: Path, tmp_path: Path) -> None:
    fragment = tmp_path / "fragment.toml"
    fragment.write_text('[losses.adversarial]\nuse = "standard/relativistic"\n[run]\nbatch_size = 4\n')
    words = ["--with", fragment, "--set", "run.seed=3", "--set", "losses.adversarial.weight=2", "--set", "run.iterations=4"]
    done = command("train", recipe, *words, "--out", tmp_path / "one")
    assert done.exit_code == 0, done.output
    values = {"losses": {"adversarial": {"weight": np.float32(2)}}}
    two = gancore.train(recipe, with_=fragment, set=values, seed=3, iterations=4, out=tmp_path / "two")
    assert same(tmp_path / "one", two.path)
    three = gancore.train(
        recipe, with_=[str(fragment)], set=[word for word in words if "=" in str(word)], out=tmp_path / "three"
    )
    assert same(two.path, three.path)
    assert two.name == three.name == f"{recipe} + {fragment}"


def test_a_table_is_a_recipe_as_its_file_is(trained: TrainedRun, tmp_path: Path) -> None:
    again = gancore.train(trained.recipe, out=tmp_path / "again")
    assert same(trained.path, again.path)
    over = {"run": {"iterations": 2}, "losses": {"adversarial": {"use": "standard/relativistic"}}, "ema": False}
    other = gancore.train(trained.recipe, with_=over, out=tmp_path / "other")
    assert (other.iteration, other.weights) == (2, "live")
    assert other.recipe["losses"]["adversarial"]["use"] == "standard/relativistic"


def test_each_goes_on_with_what_the_other_began(trained: TrainedRun, recipe: Path, tmp_path: Path) -> None:
    whole = gancore.train(recipe, iterations=9, out=tmp_path / "whole")
    done = command("train", recipe, "--set", "run.iterations=4", "--out", tmp_path / "one")
    assert done.exit_code == 0, done.output
    one = gancore.train(recipe, iterations=9, out=tmp_path / "one", resume=True)
    assert one.iteration == 9
    assert same(whole.path, one.path)
    gancore.train(recipe, iterations=4, out=tmp_path / "two")
    done = command("train", recipe, "--set", "run.iterations=9", "--out", tmp_path / "two", "--resume")
    assert done.exit_code == 0, done.output
    assert same(whole.path, tmp_path / "two")


def test_images_are_those_of_the_command_sample(trained: TrainedRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[Tensor] = []
    monkeypatch.setattr("tests.standin.image_format.write", lambda images, *_, **__: written.append(images))
    done = command("sample", trained.path, "--n", 12, "--classes", "3,5", "--seed", 2, "--out", tmp_path / "samples.png")
    assert done.exit_code == 0, done.output
    images = trained.generate(12, classes=[3, 5], seed=2)
    assert torch.equal(written[0], images)
    assert images.shape == (12, 1, 8, 8)
    assert images.dtype == torch.float32
    assert images.abs().max() <= 1
    opened = gancore.load(trained.path)
    assert torch.equal(opened.generate(12, classes=[3, 5], seed=2), images)
    assert not torch.equal(opened.generate(12, classes=[3, 5], seed=1), images)
    assert not torch.equal(opened.generate(12, classes=[4, 5], seed=2), images)
    _, labels = opened.generate_labeled(5, classes=7)
    assert labels.tolist() == [7] * 5


# -- what a run tells of itself ----------------------------------------------------------------------------------------


def test_a_run_knows_its_recipe_log_and_generator(trained: TrainedRun) -> None:
    assert [row["iteration"] for row in trained.log] == [2, 4, 6]
    assert {"loss/generator/adversarial", "loss/discriminator/adversarial", "images_per_second"} <= trained.log[-1].keys()
    assert trained.checkpoint.name == "00000006.safetensors"
    assert trained.weights == "ema"
    network = trained.generator
    assert isinstance(network, torch.nn.Module)
    assert not network.training
    average = {
        name.partition("/")[2]: value for name, value in weights(trained.path).items() if name.startswith("ema.generator/")
    }
    assert average
    assert all(torch.equal(average[name], value) for name, value in network.state_dict().items())
    assert trained.scores == []
    assert gancore.load(trained.path).log == trained.log


def test_scores_are_rows_with_their_protocols(recipe: Path, tmp_path: Path) -> None:
    values = {
        "networks.annotator.use": "host/classifier",
        "metrics.count.use": "standard/class-histogram",
        "evaluation.samples": 16,
        "run.evaluate_every": 3,
    }
    run = gancore.train(recipe, set=values, out=tmp_path / "run")
    assert [row["iteration"] for row in run.scores] == sorted(row["iteration"] for row in run.scores)
    assert {row["iteration"] for row in run.scores} == {3, 6}
    assert run.scores[0].keys() == {"iteration", "score", "value", "better", "protocol"}
    line = entries(run.path / "scores.jsonl")[-1]
    assert run.scores[-1]["protocol"] == line["protocols"]["count"]["id"]
    assert {row["score"]: row["value"] for row in run.scores if row["iteration"] == 6} == line["scores"]
    assert "count/distinct_classes" in repr(run)
    assert "count/distinct_classes" in run._repr_html_()
    assert "count/histogram" not in repr(run)  # a list


def test_a_run_shows_itself(trained: TrainedRun) -> None:
    text = repr(trained)
    assert text.splitlines()[0] == f"TrainedRun({str(trained.path)!r})"
    assert "6 of 6" in text
    assert "weights: ema" in text
    assert max(map(len, text.splitlines())) < 200
    assert repr(trained.recipe).count("[losses.adversarial]") == 1
    assert "loss/generator/adversarial" in repr(trained.log)
    assert trained.log._repr_html_().count("<tr>") == 4
    page, picture = trained._repr_html_(), trained._repr_png_()
    assert picture is not None
    assert base64.b64encode(picture).decode() in page
    assert "6 of 6" in page


def test_a_run_is_read_from_where_it_lay(recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    run = gancore.train(recipe, iterations=2, out="run")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert (str(run.path), run.checkpoint.is_file()) == ("run", True)
    assert [row["iteration"] for row in run.log] == [2]
    assert run.recipe["run"]["iterations"] == 2


def test_a_grid_is_saved_by_its_ending(trained: TrainedRun, tmp_path: Path) -> None:
    grid = trained.grid(6, classes=[1, 2], columns=3)
    assert grid.labels.tolist() == [1, 2, 1, 2, 1, 2]
    assert repr(grid) == "Grid of 6 images (1, 8, 8), 3 in a row"
    grid.save(str(tmp_path / "grid.png"))
    assert (tmp_path / "grid.png").read_bytes() == grid._repr_png_()
    with pytest.raises(gancore.GancoreError, match=r"grid.doc can't be written: end its name in one of these: .*\.png"):
        grid.save(tmp_path / "grid.doc")


def test_what_a_stranger_wrote_is_shown_as_text(trained: TrainedRun, tmp_path: Path) -> None:
    rows = trained.log.__class__([{"<script>": "\x1b[31m<b>"}])
    assert "<script>" not in rows._repr_html_()
    assert "<b>" not in rows._repr_html_()
    assert "\x1b" not in rows._repr_html_() + repr(rows)


def test_the_names_of_the_face_are_listed(tmp_path: Path) -> None:
    assert {"train", "load", "LossTerm", "Component"} <= {*dir(gancore)}
    with pytest.raises(AttributeError, match=r"has no attribute 'trian'.*did you mean 'train'.*pip install"):
        _ = gancore.trian  # type: ignore[attr-defined]


# -- what is refused ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "arguments"),
    [
        (["no/such"], {"recipe": "no/such"}),
        (["--set", "losses.balance.use=none"], {"set": {"losses.balance.use": "none"}}),
        (["--set", "run.batch_size=0"], {"set": {"run": {"batch_size": 0}}}),
        (["--with", "./missing.toml"], {"with_": "./missing.toml"}),
        (["--device", "tpu"], {"device": "tpu"}),
        (["--track", "nobody"], {"track": "nobody"}),
        (["--set", "losses.adversarial.weight=nan"], {"set": {"losses.adversarial.weight": float("nan")}}),
        (["--out", "file"], {"out": "file"}),
        (["--out", "trained"], {"out": "trained"}),
        (["--set", "losses.pull.use=./pull.py:Pull"], {"set": {"losses.pull.use": "./pull.py:Pull"}}),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_the_command_line_refuses_is_refused_in_the_same_sentence(
    words: list[str],
    arguments: dict[str, Any],
    recipe: Path,
    trained: TrainedRun,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("")
    (tmp_path / "trained").symlink_to(trained.path)
    (tmp_path / "pull.py").write_text("raise SystemExit('this must not be run')")
    named = [] if "recipe" in arguments else [recipe]
    done = command("train", *named, *words, *([] if "out" in arguments else ["--out", "run"]))
    assert done.exit_code == 2, done.output
    with pytest.raises(gancore.GancoreError) as refused:
        gancore.train(**{"recipe": recipe, "out": "run", **arguments})
    assert f"Error: {refused.value}\n" in done.output
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"recipe": 3}, "a recipe is a name, a path or a table, not 3"),
        ({"with_": 3}, "with_ takes recipes, not 3"),
        ({"set": "run.seed=1"}, "set takes a table"),
        ({"set": {"ema.decay": None}}, "ema.decay is None, which no recipe can say"),
        ({"set": {"run.seed": 2**70}}, "more than 64 bits"),
        ({"set": {"data.path": object()}}, "data.path is .*which no recipe can hold"),
        ({"set": {"data.path": "\udce4"}}, "data.path is .*which no recipe can hold"),
        ({"set": {"losses": {3: {}}}}, "losses has the key 3"),
        ({"set": {"losses.pull": Pull}}, r"losses.pull is the class Pull; a class stands behind a `use`, e.g. losses.pull.use"),
        ({"set": {"losses.pull.use": lambda: 0}}, "no class or function with a name"),
        ({"set": {"losses.pull.use": dict}}, "python:dict stands where a loss does, and is not a subclass of gancore.LossTerm"),
        ({"components": ["Pull"]}, "components is 'Pull', which is no class"),
        ({"recipe": {"extends": "./tiny.toml"}, "out": None}, "name the folder by out"),
        ({"recipe": {"nothing": {}}}, r"the table: there is no table \[nothing\]"),
        ({"recipe": {"extends": "./nowhere.toml"}}, "nowhere.toml can't be read"),
    ],
)
def test_what_python_alone_can_get_wrong_gets_a_sentence(
    arguments: dict[str, Any], sentence: str, recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tiny.toml").write_text(RECIPE)
    with pytest.raises(gancore.GancoreError, match=sentence) as refused:
        gancore.train(**{"recipe": recipe, "out": "run", **arguments})
    assert len(str(refused.value)) <= 400
    assert not (tmp_path / "run").exists()


def test_a_table_that_never_ends_is_refused(tmp_path: Path) -> None:
    table: dict[str, Any] = {}
    table["run"] = table
    with pytest.raises(gancore.GancoreError, match="nested deeper"):
        gancore.train(table, out=tmp_path / "run")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"n": 0}, "n must be a whole number of at least 1, not 0"),
        ({"n": True}, "n must be a whole number"),
        ({"n": 1, "seed": -1}, "seed must be a whole number of at least 0"),
        ({"n": 1, "classes": [11]}, "there is no class 11"),
        ({"n": 1, "classes": "3,5"}, "classes must be whole numbers"),
    ],
)
def test_images_that_there_are_not_are_refused(arguments: dict[str, Any], sentence: str, trained: TrainedRun) -> None:
    with pytest.raises(gancore.GancoreError, match=sentence):
        trained.generate(**arguments)


def test_an_earlier_checkpoint_is_opened(recipe: Path, tmp_path: Path) -> None:
    run = gancore.train(recipe, set={"run.checkpoint_every": 3}, out=tmp_path / "run")
    earlier = gancore.load(run.path, at=3)
    assert (earlier.iteration, earlier.checkpoint.name) == (3, "00000003.safetensors")
    assert earlier.checkpoint.exists()
    assert not torch.equal(earlier.generate(2), run.generate(2))
    with pytest.raises(gancore.GancoreError, match="stores no checkpoint of iteration 4"):
        gancore.load(run.path, at=4)


def test_a_folder_without_a_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(gancore.GancoreError, match="holds no run"):
        gancore.load(tmp_path)
    with pytest.raises(gancore.GancoreError, match=r"the run .* is no path"):
        gancore.load("\0")


# -- classes without a plugin ------------------------------------------------------------------------------------------


def test_a_class_goes_into_a_recipe_as_it_is(recipe: Path, tmp_path: Path) -> None:
    run = gancore.train(recipe, set=PULL, iterations=4, out=tmp_path / "run")
    assert "loss/generator/pull" in run.log[-1]
    assert run.recipe["losses"]["pull"] == {"use": "python:Pull", "weight": 0.1, "level": 2}
    record = json.loads((run.path / "environment.json").read_text())
    assert re.fullmatch("code Pull [0-9a-f]{12}", record["plugins"]["python"])
    kept = record["code"]["python:Pull"]
    assert kept["source"].startswith("class Pull(gancore.LossTerm):\n")
    assert "(fake_adversarial - self.level).square().mean()" in kept["source"]
    assert "@pytest.fixture" not in kept["source"]


class Stripes(gancore.Dataset):
    """Two images, of stripes one way and the other."""

    info = gancore.DatasetInfo(classes=2, channels=1, image_size=8)

    def load(self, split: str) -> tuple[Tensor, Tensor]:
        stripes = (torch.arange(8) % 2 * 255).to(torch.uint8).expand(1, 8, 8)
        return torch.stack([stripes, stripes.mT]).repeat(8, 1, 1, 1), torch.arange(2).repeat(8)


def halved(*, after: int = 2) -> gancore.Factor:
    """Return a schedule that halves a number after some iterations."""
    return lambda iteration: 0.5 if iteration >= after else 1.0


def test_data_and_schedules_go_into_a_recipe_as_losses_do(recipe: Path, tmp_path: Path) -> None:
    values = {"data": {"use": Stripes}, "optimizers.generator": {"lr": 0.01, "schedule": {"use": halved, "after": 3}}}
    run = gancore.train(recipe, set=values, iterations=4, out=tmp_path / "run")
    assert run.recipe["data"] == {"use": "python:Stripes"}
    assert run.recipe["optimizers"]["generator"]["schedule"] == {"use": "python:halved", "after": 3}
    assert run._run.players["generator"].optimizer.param_groups[0]["lr"] == pytest.approx(0.005)
    assert run.generate_labeled(4)[1].tolist() == [0, 1, 0, 1]
    images = run.generate(4)
    again = gancore.load(run.path, components=[Stripes, halved])
    assert torch.equal(again.generate(4), images)
    with pytest.raises(gancore.GancoreError, match="'python:halved', a class that was given from Python"):
        gancore.load(run.path, components=[Stripes])


SENTENCE = r"losses.pull uses the loss 'python:Pull', a class that was given from Python; give it again by components=\[Pull\]"


def test_what_a_run_needs_a_class_for_says_so(recipe: Path, tmp_path: Path) -> None:
    run = gancore.train(recipe, set=PULL, iterations=2, out=tmp_path / "run")
    folder = run.path
    with pytest.raises(gancore.GancoreError, match=SENTENCE):
        gancore.train(folder / "recipe.toml", out=folder, resume=True)
    assert re.search(SENTENCE, command("evaluate", folder).output)
    # Images need no loss; that it is missing is told.
    without = gancore.load(folder)
    assert torch.equal(without.generate(3), run.generate(3))
    assert "without losses.pull, whose code is not there, and which no image needs" in without.messages
    assert without.recipe == run.recipe
    assert not any("pull" in line for line in gancore.load(folder, components=[Pull]).messages)
    longer = gancore.train(without.recipe, iterations=4, out=folder, resume=True, components=[Pull])
    assert longer.iteration == 4
    assert not any("python" in line for line in longer.messages)


def test_a_run_whose_generator_is_a_class_is_not_opened_without_it(recipe: Path, tmp_path: Path) -> None:
    run = gancore.train(
        recipe, set={"networks.generator.use": Makes, "heads.adversarial.use": "standard/linear"}, out=tmp_path / "run"
    )
    with pytest.raises(gancore.GancoreError, match=r"networks.generator uses the network 'python:Makes'.*components=\[Makes\]"):
        gancore.load(run.path)
    assert torch.equal(gancore.load(run.path, components=[Makes]).generate(3), run.generate(3))


def test_a_class_that_has_changed_is_told(recipe: Path, tmp_path: Path) -> None:
    gancore.train(recipe, set=PULL, iterations=2, out=tmp_path / "run")

    def generator(self: Pull, *, fake_adversarial: Tensor) -> Tensor:
        return fake_adversarial.mean() * self.level

    other = type("Pull", (Pull,), {"generator": generator})
    again = gancore.train(
        recipe,
        set={**PULL, "losses.pull": {**PULL["losses.pull"], "use": other}},
        iterations=4,
        out=tmp_path / "run",
        resume=True,
    )
    assert any(re.search("since iteration 2 .*python was code Pull .* and is code Pull", line) for line in again.messages)
    assert "history" in json.loads((again.path / "environment.json").read_text())


def test_two_classes_of_one_name_are_refused(recipe: Path, tmp_path: Path) -> None:
    other = type("Pull", (Pull,), {})
    with pytest.raises(gancore.GancoreError, match="two classes are called Pull"):
        gancore.train(recipe, set={**PULL, "losses.other.use": other}, out=tmp_path / "run")


def test_the_code_of_a_file_is_run_where_it_is_trusted_alone(
    recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pull.py").write_text(FILE)
    words = ["train", recipe, "--set", "losses.pull.use=./pull.py:Pull", "--set", "losses.pull.weight=0.1"]
    words += ["--set", "losses.pull.level=2", "--set", "run.iterations=4"]
    refused = command(*words, "--out", "run")
    assert refused.exit_code == 2
    assert "'./pull.py:Pull', the code of a file" in refused.output
    assert "--trust-local" in refused.output
    assert not (tmp_path / "run").exists()
    done = command(*words, "--out", "run", "--trust-local")
    assert done.exit_code == 0, done.output
    # The class that Python gives computes the same, and may stand in its place.
    given = gancore.train(recipe, set=PULL, iterations=4, out="given")
    assert same(given.path, tmp_path / "run")
    with pytest.raises(gancore.GancoreError, match="trust_local=True"):
        gancore.train("run/recipe.toml", iterations=6, out="run", resume=True)
    assert any("without losses.pull" in line for line in gancore.load("run").messages)
    assert gancore.load("run", trust_local=True).messages == []
    images = gancore.load("run", trust_local=True).generate(3)
    assert torch.equal(gancore.load("run", components=[Pull]).generate(3), images)
    longer = gancore.train(recipe, set=PULL, iterations=6, out="run", resume=True)
    assert longer.iteration == 6


def test_a_file_that_has_changed_is_told_on_resume(recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pull.py").write_text(FILE)
    words = ["train", recipe, "--set", "losses.pull.use=./pull.py:Pull", "--out", "run", "--trust-local"]
    assert command(*words, "--set", "run.iterations=2").exit_code == 0
    before = json.loads((tmp_path / "run" / "environment.json").read_text())["plugins"]["./pull.py"]
    (tmp_path / "pull.py").write_text(FILE.replace("0.5", "0.25"))
    done = command(*words, "--resume")
    assert done.exit_code == 0, done.output
    after = json.loads((tmp_path / "run" / "environment.json").read_text())
    assert f"plugins../pull.py was {before} and is {after['plugins']['./pull.py']}" in done.output
    assert "0.25" in after["code"]["./pull.py:Pull"]["source"]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("1 / 0", "pull.py can't be run: ZeroDivisionError"),
        ("raise SystemExit", "pull.py can't be run: SystemExit"),
        ("x = (", "pull.py can't be run: SyntaxError"),
        ("x = 1", "pull.py holds no Pull"),
        ("Pull = 3", "is not a subclass of gancore.LossTerm"),
        (None, "is no file of Python's here"),
    ],
)
def test_a_file_that_is_no_good_gets_a_sentence(
    text: str | None, sentence: str, recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    if text is not None:
        (tmp_path / "pull.py").write_text(text)
    with pytest.raises(gancore.GancoreError, match=sentence) as refused:
        gancore.train(recipe, set={"losses.pull.use": "./pull.py:Pull"}, out="run", trust_local=True)
    assert len(str(refused.value)) <= 400


class Reader(gancore.Classifier):
    """The smallest network that reads digits."""

    features = 64
    classes = 10

    def __init__(self) -> None:
        super().__init__()
        self.linear = torch.nn.Linear(64, 10)

    def embed(self, x: Tensor) -> Tensor:
        return x.flatten(1)

    def classify(self, features: Tensor) -> Tensor:
        logits: Tensor = self.linear(features)
        return logits


def test_what_is_trained_first_is_trained_anew_where_its_class_has_changed(
    recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GANCORE_CACHE", str(tmp_path / "cache"))
    helper = {
        "run": {"iterations": 2, "batch_size": 8},
        "data": {"use": "standard/digits"},
        "loop": {"use": "standard/supervised"},
        "networks": {"classifier": {"use": "standard/small-cnn"}},
        "losses": {"cross_entropy": {"use": "standard/cross-entropy"}},
    }
    (tmp_path / "helper.toml").write_text(toml.dumps(helper))

    def trained_first(reader: type, out: str) -> list[Path]:
        network = {"use": reader, "trained_by": str(tmp_path / "helper.toml")}
        values = {"networks.annotator": network, "metrics.count.use": "standard/class-histogram", "evaluation.samples": 16}
        gancore.train(recipe, set=values, iterations=2, out=tmp_path / out)
        return sorted((tmp_path / "cache" / "trained").iterdir())

    (first,) = trained_first(Reader, "one")
    assert trained_first(Reader, "two") == [first]

    def classify(self: Reader, features: Tensor) -> Tensor:
        logits: Tensor = -self.linear(features)
        return logits

    assert len(trained_first(type("Reader", (Reader,), {"classify": classify}), "three")) == 2


# -- the process it is called in ---------------------------------------------------------------------------------------


def test_nothing_of_the_process_is_changed_and_nothing_printed(
    recipe: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    def state() -> list[Any]:
        streams = [random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()]
        handlers = [signal.getsignal(number) for number in signal.valid_signals()]
        return [*streams, handlers, torch.get_num_threads(), torch.is_grad_enabled(), torch.get_default_dtype()]

    torch.rand(3), random.random(), np.random.rand()
    before = state()
    run = gancore.train(recipe, iterations=2, out=tmp_path / "run")
    gancore.load(run.path).generate(2)
    assert state() == before
    with pytest.raises(gancore.GancoreError):
        gancore.train(recipe, iterations=2, out=tmp_path / "run")
    assert state() == before
    assert capfd.readouterr() == ("", "")
    gancore.train(recipe, iterations=4, out=tmp_path / "run", resume=True, progress=True)
    assert "going on after 2 of 4 iterations" in capfd.readouterr().err


def test_the_allocator_is_the_command_lines_alone(
    recipe: Path, trained: TrainedRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[None] = []
    monkeypatch.setattr("gancore_training.options.keep_freed_memory", lambda: asked.append(None))
    gancore.train(recipe, iterations=2, out=tmp_path / "run")
    assert asked == []
    command("sample", trained.path, "--out", tmp_path / "samples.png")
    assert asked == [None]


def test_two_trainings_in_threads_and_one_in_a_running_loop_do_not_disturb_each_other(
    trained: TrainedRun, recipe: Path, tmp_path: Path
) -> None:
    runs: dict[str, TrainedRun] = {}

    def train(name: str) -> None:
        runs[name] = gancore.train(recipe, out=tmp_path / name)

    async def in_a_loop() -> None:
        train("three")

    torch.manual_seed(3)
    before = torch.get_rng_state(), random.getstate()
    threads = [threading.Thread(target=train, args=(name,)) for name in ("one", "two")]
    for thread in threads:
        thread.start()
    asyncio.run(in_a_loop())
    for thread in threads:
        thread.join()
    assert all(same(trained.path, runs[name].path) for name in ("one", "two", "three"))
    assert torch.equal(torch.get_rng_state(), before[0])
    assert random.getstate() == before[1]


class Stops(gancore.LossTerm):
    """Has the process told to stop in its third turn."""

    turns = 0

    def generator(self, *, fake_adversarial: Tensor) -> Tensor:
        Stops.turns += 1
        if Stops.turns == 3:
            signal.raise_signal(signal.SIGINT)
        return 0 * fake_adversarial.mean()


def test_ctrl_c_leaves_a_saved_run_and_gives_control_back(recipe: Path, tmp_path: Path) -> None:
    stops = {"losses.stops.use": Stops}
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt, match=r"the newest checkpoint is .*resume=True"):
        gancore.train(recipe, set=stops, out=tmp_path / "run")
    assert signal.getsignal(signal.SIGINT) is before
    assert gancore.load(tmp_path / "run", components=[Stops]).iteration == 3
    gone_on = gancore.train(recipe, set=stops, out=tmp_path / "run", resume=True)
    assert gone_on.iteration == 6
    assert same(gancore.train(recipe, set=stops, out=tmp_path / "whole").path, gone_on.path)


def test_several_processes_are_the_command_lines(recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(gancore.GancoreError, match=r"gancore\.train runs in one process"):
        gancore.train(recipe, out=tmp_path / "run")

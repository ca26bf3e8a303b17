"""``gancore new-recipe``: what it sees of a folder, what it chooses, that the recipe plans and steps, and what it refuses."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gancore_standard.folder_survey import survey
from gancore_standard.new_recipe import choose
from PIL import Image

from gancore.engine.devices import choose_device
from gancore.engine.run import Run
from gancore.plan.load import make_plan
from gancore.recipe.recipe import read
from gancore.registry import registry
from tests.cli.test_cli import run

NARROW = ["networks.generator.width=0.05", "networks.discriminator.width=0.05", "networks.annotator=false", "metrics=false"]


@pytest.fixture(autouse=True)
def _own_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GANCORE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.chdir(tmp_path)


def pictures(folder: Path, number: int, size: tuple[int, int] = (20, 16), mode: str = "RGB", ending: str = "png") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(number)
    for place in range(number):
        pixels = Image.fromarray(rng.integers(0, 256, (size[1], size[0], 4), dtype=np.uint8), "RGBA")
        pixels.convert(mode).save(folder / f"{place}.{ending}")
    return folder


def written(folder: Path, *options: object) -> dict[str, Any]:
    """The recipe that is written for a folder."""
    done = run("new-recipe", folder, "--out", "x.toml", *options)
    assert done.exit_code == 0, done.output
    return tomllib.loads(Path("x.toml").read_text())


def stepped(*assignments: str) -> Run:
    recipe = read("./x.toml", registry(), assignments=[*NARROW, *assignments])
    step = Run(make_plan(recipe, registry()), choose_device("cpu"), {})
    step.step()
    return step


def test_a_folder_of_classes_is_seen_as_it_is(tmp_path: Path) -> None:
    pictures(tmp_path / "set/cats", 60, mode="RGBA")
    pictures(tmp_path / "set/dogs", 20, (40, 16), ending="jpg")
    pictures(tmp_path / "apart", 30, mode="L", ending="bmp")
    (tmp_path / "set/gray ones").symlink_to("../apart")
    pictures(tmp_path / "set", 3)
    looked = survey(tmp_path / "set")
    assert looked.classes == {"cats": 54, "dogs": 18, "gray ones": 27}
    assert (looked.test, looked.split, looked.labels, looked.side, looked.imbalance) == (11, False, True, 16, 3)
    told = dict(looked.told())
    assert told["formats"] == "PNG 60, BMP 30, JPEG 20"
    assert told["sizes"] == "20 x 16 to 40 x 16; shorter side 16 to 16, mostly 16"
    assert told["transparent"].startswith("60, ")
    assert told["color"].startswith("30 gray")
    assert dict(survey(tmp_path / "set" / "cats").told())["color"] == "in color, all of them"
    assert told["shape"].startswith("20 over 1.5 times")
    assert told["links"] == "1 class folder is a link, followed"
    assert told["left aside"].startswith("3 that lie beside")


def test_a_recipe_of_classes_is_conditional_scored_and_says_why(tmp_path: Path) -> None:
    pictures(tmp_path / "My Set/cats", 60)
    pictures(tmp_path / "My Set/dogs", 30)
    done = run("new-recipe", "My Set")
    assert done.exit_code == 0, done.output
    assert "To train it: gancore train my-set.toml" in done.output
    assert max(map(len, done.output.splitlines())) <= 80
    text = Path("my-set.toml").read_text()
    assert "#   classes      2: cats 54, dogs 27" in text
    assert "#   - imbalanced: the largest class has 2.0 times the images of the smallest" in text
    recipe = read("./my-set.toml", registry())
    plan = make_plan(recipe, registry())
    assert (plan.info.classes, plan.info.channels, plan.info.image_size) == (2, 3, 16)
    assert (recipe.run.iterations, recipe.run.batch_size, recipe.run.evaluate_every) == (2000, 64, 200)
    assert recipe.table["networks"]["annotator"]["trained_by"] == "standard/base-annotator"
    assert recipe.table["networks"]["generator"]["conditional"] is True
    assert recipe.evaluation.split == "train"
    Path("my-set.toml").rename("x.toml")
    assert stepped("run.batch_size=8").iteration == 1


def test_a_folder_without_classes_gives_a_recipe_without_labels_and_scores(tmp_path: Path) -> None:
    pictures(tmp_path / "set", 12, (70, 64), mode="L")
    pictures(tmp_path / "set/", 8, (70, 64), mode="L", ending="gif")
    table = written(tmp_path / "set")
    assert table["extends"] == "standard/base-64"
    assert table["data"] == {
        "path": str(tmp_path / "set"),
        "image_size": 64,
        "channels": 1,
        "labels": False,
        "test_fraction": 0.1,
    }
    assert {"networks", "metrics", "heads"}.isdisjoint(table)
    assert table["run"]["batch_size"] == 16
    step = stepped("data.image_size=8", "run.batch_size=4")
    assert (step.plan.info.classes, step.plan.info.class_names, step.iteration) == (1, ("all",), 1)


def test_splits_are_those_of_the_folder(tmp_path: Path) -> None:
    for split, number in (("train", 40), ("val", 7)):
        for name in "ab":
            pictures(tmp_path / "set" / split / name, number)
    table = written(tmp_path / "set")
    assert "test_fraction" not in table["data"]
    looked = survey(tmp_path / "set")
    assert (looked.train, looked.test, looked.split) == (80, 14, True)
    plain = pictures(tmp_path / "plain/train", 9).parent
    pictures(plain / "test", 4)
    looked = survey(plain)
    assert (looked.classes, looked.labels, looked.test, looked.split) == ({"all": 9}, False, 4, True)


@pytest.mark.parametrize(
    ("side", "size", "base"),
    [(3, 8, "32"), (28, 32, "32"), (47, 32, "32"), (48, 64, "64"), (100, 128, "128"), (700, 128, "128")],
)
def test_size_and_networks_follow_the_shorter_side(tmp_path: Path, side: int, size: int, base: str) -> None:
    pictures(tmp_path / "set", 2, (side + 5, side))
    choices = choose(survey(tmp_path / "set"))
    assert (choices.size, choices.base) == (size, f"standard/base-{base}")


def test_options_decide_where_they_are_given(tmp_path: Path) -> None:
    pictures(tmp_path / "set/a", 60)
    pictures(tmp_path / "set/b", 60)
    table = written(tmp_path / "set", "--size", 8, "--unconditional", "--small")
    text = Path("x.toml").read_text()
    assert "8 px, a power of two: the images' shorter side is mostly 16" in text
    assert "unconditional: it was asked for\n" in text
    assert table["data"]["image_size"] == 8
    assert table["run"]["iterations"] == 1000
    assert table["networks"]["generator"] == {"width": 0.25}
    assert table["networks"]["annotator"]["trained_with"] == ["run.iterations=200"]
    assert table["ema"] == {"decay": 0.99, "start": 50}
    Path("x.toml").unlink()
    table = written(tmp_path / "set", "--no-labels")
    assert (table["data"]["labels"], "metrics" in table) == (False, False)


def test_few_images_of_a_class_are_not_learned_apart(tmp_path: Path) -> None:
    for name in "abc":
        pictures(tmp_path / "set" / name, 5)
    table = written(tmp_path / "set")
    assert {"networks", "metrics"}.isdisjoint(table)
    assert "unconditional: with 5 images or so of each, classes are not learned apart\n" in Path("x.toml").read_text()
    assert "labels" not in table["data"]


def test_images_that_cannot_be_read_are_named_and_nothing_is_written(tmp_path: Path) -> None:
    pictures(tmp_path / "set", 4)
    for name in ("one.png", "two.jpg"):
        (tmp_path / "set" / name).write_bytes(b"no picture")
    done = run("new-recipe", "set")
    assert done.exit_code == 2
    assert "2 images can't be read: " in done.stderr
    assert "one.png" in done.stderr
    assert not list(tmp_path.glob("*.toml"))


@pytest.mark.parametrize(
    ("files", "words", "sentence"),
    [
        ([], ["nowhere"], "nowhere is not there; name a folder of images."),
        (["a.png"], ["set/a.png"], "set/a.png is no folder; name a folder of images."),
        (["a.txt"], ["set"], "set holds no image; name a folder that holds some."),
        (["a.png"], ["set"], "set holds a single image, and a GAN learns from many; add more."),
        (["a/1.png", "b/no.txt"], ["set"], "The class folder set/b holds no image"),
        (["test/a.png", "test/b.png"], ["set"], "set holds test and no train; put the images to train on in set/train."),
        (["a/x/1.png", "a/y/2.png", "b/x/1.png"], ["set"], "look like classes"),
        (["a.png", "b.png"], ["set", "--size", "48"], "--size 48 is no power of two"),
        (["a.png", "b.png"], ["set", "--out", "x.txt"], "--out x.txt must end in .toml"),
        (["a.png", "b.png", "../set.toml"], ["set"], "set.toml exists already; choose another --out."),
        (["a.png", "b.png"], ["set", "--conditional"], "set has no classes to ask for"),
    ],
)
def test_what_cannot_be_is_one_sentence(tmp_path: Path, files: list[str], words: list[str], sentence: str) -> None:
    for name in files:
        path = tmp_path / "set" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix == ".png":
            Image.new("RGB", (9, 9)).save(path)
        else:
            path.write_text("")
    before = set(tmp_path.rglob("*"))
    done = run("new-recipe", *words)
    assert done.exit_code == 2, done.output
    (line,) = done.stderr.splitlines()
    assert sentence in line
    assert len(line) < 410
    assert set(tmp_path.rglob("*")) == before


def test_the_bases_are_one_recipe_in_three_sizes() -> None:
    tables = [read(f"standard/base-{size}", registry()).table for size in (32, 64, 128)]
    assert [table["data"]["image_size"] for table in tables] == [32, 64, 128]
    assert all(table["losses"]["adversarial"]["use"] == "standard/hinge" for table in tables)
    assert all("cite" not in table for table in tables)

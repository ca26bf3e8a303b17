"""Train, sample and evaluate, as a person uses them."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import gancore_training
import pytest
import torch
from gancore_training.sample_files import class_folders
from torch import Tensor

import gancore
import gancore.files.toml
from tests.cli.test_cli import run
from tests.hosts import CONDITIONAL, installed, registry
from tests.standin import metrics

ROOT = Path(__file__).resolve().parents[3]

RECIPE = f"""
summary = "A tiny game"
[run]
iterations = 6
batch_size = 8
latent_dim = 4
precision = "float32"
log_every = 2
{CONDITIONAL}
"""


@pytest.fixture
def recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "tiny.toml"
    path.write_text(RECIPE)
    return path


@pytest.fixture(autouse=True)
def _plugins_of_tests() -> Iterator[None]:
    with installed(registry(training=gancore_training)):
        yield


def write_shape(images: Tensor, path: Path, *, columns: int | None = None) -> None:
    """Write the shape of images; the image format of a plugin in a test."""
    path.write_text(str(tuple(images.shape)))


def write_labels(images: Tensor, path: Path, *, columns: int | None = None, labels: Tensor | None = None) -> None:
    """Write the labels of images; the image format of a plugin in a test."""
    path.write_text(str(None if labels is None else labels.tolist()))


def test_train_and_sample_in_a_row(recipe: Path, tmp_path: Path) -> None:
    done = run("train", recipe)
    assert done.exit_code == 0, done.output
    assert "The run is in runs/tiny." in done.output
    done = run("sample", "runs/tiny", "--n", 6, "--classes", "3,5", "--out", "six.png")
    assert done.exit_code == 0, done.output
    assert (tmp_path / "six.png").read_bytes() == b"\x89PNG (6, 1, 8, 8)"


def test_set_and_with_layer_over_the_recipe(recipe: Path, tmp_path: Path) -> None:
    fragment = tmp_path / "more.toml"
    fragment.write_text("[run]\nbatch_size = 4\n[losses.adversarial]\nuse = 'standard/non-saturating'\n")
    done = run("train", recipe, "--with", fragment, "--set", "run.iterations=2", "--set", "losses.adversarial.weight=2")
    assert done.exit_code == 0, done.output
    resolved = gancore.files.toml.read(tmp_path / "runs" / "tiny+more" / "recipe.toml")
    assert resolved["run"]["batch_size"] == 4
    assert resolved["run"]["iterations"] == 2
    assert resolved["losses"]["adversarial"] == {"use": "standard/non-saturating", "weight": 2}


def test_samples_are_written_by_the_format_of_their_suffix(recipe: Path, tmp_path: Path) -> None:
    assert run("train", recipe, "--set", "run.iterations=1").exit_code == 0
    done = run("sample", "runs/tiny", "--out", "six.jpeg")
    assert done.exit_code == 2
    assert done.stderr == "Error: six.jpeg can't be written: end its name in one of these: .png.\n"

    @gancore.hookimpl
    def gancore_image_formats() -> Iterator[gancore.Component]:
        yield gancore.Component("shape", f"{__name__}:write_shape", "The shape alone")

    module = ModuleType("shapes")
    module.gancore_image_formats = gancore_image_formats  # type: ignore[attr-defined]
    with installed(registry(training=gancore_training, shapes=module)):
        assert run("sample", "runs/tiny", "--n", 6, "--out", "six.shape").exit_code == 0
    assert (tmp_path / "six.shape").read_text() == "(6, 1, 8, 8)"


@pytest.mark.parametrize(("conditional", "written"), [("true", "[3, 5, 3, 5]"), ("false", "None")])
def test_a_format_that_asks_for_labels_gets_those_that_the_generator_heeds(
    recipe: Path, tmp_path: Path, conditional: str, written: str
) -> None:
    @gancore.hookimpl
    def gancore_image_formats() -> Iterator[gancore.Component]:
        yield gancore.Component("labels", f"{__name__}:write_labels", "The labels alone")

    module = ModuleType("labels")
    module.gancore_image_formats = gancore_image_formats  # type: ignore[attr-defined]
    words = ("--set", "heads.adversarial.use=linear", "--set", f"networks.generator.conditional={conditional}")
    with installed(registry(training=gancore_training, labels=module)):
        assert run("train", recipe, *words, "--set", "run.iterations=2").exit_code == 0
        asked = ("--classes", "3,5") if conditional == "true" else ()
        assert run("sample", "runs/tiny", "--n", 4, *asked, "--out", "x.labels").exit_code == 0
        refused = run("sample", "runs/tiny", "--classes", "3,5", "--out", "y.labels")
    if conditional == "false":
        assert refused.exit_code == 2
        assert "runs/tiny/recipe.toml heeds no labels, so no class can be asked for.\n" in refused.stderr
        assert not (tmp_path / "y.labels").exists()
    assert (tmp_path / "x.labels").read_text() == written


def test_samples_are_written_one_a_file_into_a_folder(recipe: Path, tmp_path: Path) -> None:
    assert run("train", recipe, "--set", "run.iterations=1").exit_code == 0
    (tmp_path / "v.2").mkdir()
    for out in ("many/", "v.2"):
        done = run("sample", "runs/tiny", "--n", 3, "--out", out)
        assert done.exit_code == 0, done.output
        files = sorted((tmp_path / out).iterdir())
        assert [path.name for path in files] == ["000000.png", "000001.png", "000002.png"]
        assert {path.read_bytes() for path in files} == {b"\x89PNG (1, 1, 8, 8)"}
    done = run("sample", "runs/tiny", "--n", 3, "--out", "many")
    assert done.exit_code == 2
    assert "many holds other files; name a new folder by --out, or a file such as x.png." in done.stderr


def test_samples_are_written_by_class(recipe: Path, tmp_path: Path) -> None:
    assert run("train", recipe, "--set", "run.iterations=1").exit_code == 0
    done = run("sample", "runs/tiny", "--n", 5, "--classes", "3,7", "--out", "many", "--by-class")
    assert done.exit_code == 0, done.output
    files = sorted(str(path.relative_to(tmp_path / "many")) for path in (tmp_path / "many").rglob("*.png"))
    assert files == ["3/000000.png", "3/000002.png", "3/000004.png", "7/000001.png", "7/000003.png"]
    done = run("sample", "runs/tiny", "--out", "x.png", "--by-class")
    assert done.exit_code == 2
    assert "--by-class is for a folder of single images, and x.png is one file" in done.stderr


def test_images_of_no_class_are_not_written_by_class(recipe: Path, tmp_path: Path) -> None:
    words = ("--set", "heads.adversarial.use=linear", "--set", "networks.generator.conditional=false")
    assert run("train", recipe, *words, "--set", "run.iterations=1").exit_code == 0
    done = run("sample", "runs/tiny", "--out", "many", "--by-class")
    assert done.exit_code == 2
    assert "generates images of no class that is asked for; leave out --by-class." in done.stderr
    assert not (tmp_path / "many").exists()


def test_what_is_written_over_is_said(recipe: Path) -> None:
    assert run("train", recipe, "--set", "run.iterations=1").exit_code == 0
    assert run("sample", "runs/tiny", "--n", 3).stdout == "3 images of iteration 1 are in runs/tiny/samples.png\n"
    assert run("sample", "runs/tiny", "--n", 3).stdout.endswith("samples.png, in place of what was there\n")


@pytest.mark.parametrize(
    ("names", "folders"),
    [
        (("cat", "dog"), ["cat", "dog"]),
        (("a cat", " dog.2 "), ["a cat", "dog.2"]),
        ((), ["0", "1"]),
        (("..", "dog"), ["0", "1"]),
        (("../x", "dog"), ["0", "1"]),
        (("/etc", "dog"), ["0", "1"]),
        (("cat\n", "a\nb"), ["0", "1"]),
        (("Cat", "cat"), ["0", "1"]),
        (("x" * 200, "dog"), ["0", "1"]),
    ],
)
def test_classes_are_folders_only_where_their_names_lead_nowhere_else(names: tuple[str, ...], folders: list[str]) -> None:
    assert class_folders(gancore.DatasetInfo(2, 1, 8, names)) == folders
    assert class_folders(gancore.DatasetInfo(12, 1, 8))[:2] == ["00", "01"]


def test_evaluate_appends_scores_with_their_protocol(recipe: Path, tmp_path: Path) -> None:
    metric = ["--set", "networks.annotator.use=host/classifier", "--set", "metrics.classes.use=class-histogram"]
    metric += ["--set", "evaluation.samples=16"]
    assert run("train", recipe, *metric).exit_code == 0
    done = run("evaluate", "runs/tiny")
    assert done.exit_code == 0, done.output
    assert re.search(r"classes/distinct_classes +\d+ +\(protocol [0-9a-f]{8}\)", done.output)
    one, two = map(json.loads, (tmp_path / "runs" / "tiny" / "scores.jsonl").read_text().splitlines())
    assert one["scores"] == two["scores"]
    assert one["protocols"] == two["protocols"]


def test_what_a_metric_warns_of_is_shown_with_its_scores_and_kept(
    recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def protocol(metric: metrics.ClassHistogram) -> dict[str, str]:
        # What is known only once images were seen.
        return {"warning": f"of {len(torch.cat(metric._logits))} images"} if metric._logits else {}

    monkeypatch.setattr(metrics.ClassHistogram, "protocol", protocol)
    metric = ("--set", "networks.annotator.use=host/classifier", "--set", "metrics.classes.use=class-histogram")
    done = run("train", recipe, *metric, "--set", "evaluation.samples=16")
    assert "\nwarning: classes: of 16 images\n" in done.stderr
    assert "\nwarning: classes: of 16 images\n" in run("evaluate", "runs/tiny").output
    for line in (tmp_path / "runs" / "tiny" / "scores.jsonl").read_text().splitlines():
        assert json.loads(line)["protocols"]["classes"]["warning"] == "of 16 images"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_saves_and_prints_the_line_that_resumes(recipe: Path, tmp_path: Path, number: int) -> None:
    command = [sys.executable, "-m", "plugins.training.tests.command", "train", str(recipe), "--set", "run.iterations=100000"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])}
    with subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, text=True) as child:
        log = tmp_path / "runs" / "tiny" / "log.jsonl"
        deadline = time.monotonic() + 60
        while not log.exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        child.send_signal(number)
        output, _ = child.communicate(timeout=60)
    assert child.returncode == 130
    line = next(line for line in output.splitlines() if line.startswith("Saved. To go on: "))
    again = line.removeprefix("Saved. To go on: gancore ").replace("'", "").split()
    assert again[-3:] == ["--out", "runs/tiny", "--resume"]
    (saved,) = (tmp_path / "runs" / "tiny" / "checkpoints").iterdir()
    assert int(saved.stem) >= 2


@pytest.mark.parametrize("words", [["--help"], ["train", "--help"], ["sample", "--help"], ["evaluate", "--help"]])
def test_help_imports_no_torch(words: list[str]) -> None:
    code = (
        "import sys; from gancore.cli.main import main\n"
        f"try: main({words!r}, prog_name='gancore')\n"
        "except SystemExit as ended: assert ended.code == 0\n"
        "assert 'torch' not in sys.modules, 'torch was imported'"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "Usage: gancore" in done.stdout

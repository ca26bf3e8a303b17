"""The command group as a person uses it: the whole run on the embedded digits, its stages, and bad input."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result
from gancore_training import Evaluator, open_run, tensors_of
from gancore_uap.perturbation_files import Perturbation
from PIL import Image

from gancore import GancoreError
from gancore.cli.main import main
from gancore.tools import read_tensors, registry

DIGITS = ["--victim", "uap/digits-classifier"]
QUICK = ["--set", "run.iterations=20", "--set", "run.checkpoint_every=5", "--images", "30", "--cycles", "3"]


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GANCORE_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


def call(*words: str | Path) -> Result:
    return CliRunner().invoke(main, ["uap", *map(str, words)])


def well(*words: str | Path) -> str:
    result = call(*words)
    assert result.exit_code == 0, result.output
    return result.output


def refused(*words: str | Path) -> str:
    result = call(*words)
    assert result.exit_code == 2, result.output
    lines = [line for line in result.output.splitlines() if line.startswith("Error: ")]
    assert len(lines) == 1, result.output
    assert "Traceback" not in result.output
    return lines[0]


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory, cache: Any) -> tuple[Path, str]:
    """The plugin's demo, whole, as its README has it."""
    out = tmp_path_factory.mktemp("demo") / "uap"
    words = ["uap/digits-prior", "--method", "uap/digits-direct", *DIGITS, "--target", "digits", "--epsilon", "16/255,32/255"]
    return out, well("run", *words, "--out", out)


@pytest.fixture(scope="module")
def prior(tmp_path_factory: pytest.TempPathFactory, cache: Any) -> Path:
    """A prior of seconds, and its proxy set."""
    out = tmp_path_factory.mktemp("prior")
    well("prior", "uap/digits-prior", *DIGITS, *QUICK, "--out", out)
    return out


PAGE = Path(__file__).parents[3] / "docs" / "methods" / "uap.md"

STAND_INS = {"uap/comics-prior": "uap/digits-prior", "data.path=comics": "data.channels=1", "224": "16"}
"""For what the paper's chain names and is not here or takes days: drawn shapes of 8 px, and victims of 16 px."""


@pytest.fixture(scope="module")
def large_victim(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the run of a classifier of digits at 16 px."""
    out = tmp_path_factory.mktemp("victim") / "digits16"
    words = ["train", "cbgan/digits-annotator", "--set", "data.image_size=16", "--set", "run.iterations=60", "--out", str(out)]
    assert CliRunner().invoke(main, words).exit_code == 0
    return out


def chain(command: str, out: Path, victim: Path) -> list[str]:
    """Return the words after ``gancore uap`` of a command on the page, with stand-ins, and short."""
    (text,) = re.findall(rf"^    gancore uap {command} ((?:.*\\\n)*.*)$", PAGE.read_text(), re.MULTILINE)
    changes = {**STAND_INS, "uap/imagenet-vgg16": str(victim), "uap/imagenet-resnet50": str(victim)}
    changes |= {"standard/image-folder": "digits", "path=imagenet": "image_size=16", "image_size=224": "image_size=16"}
    changes |= {"runs/comics": str(out), "runs/comics/proxy": str(out / "proxy"), "runs/comics-resnet50": str(out / "second")}
    words = [changes.get(word, word) for word in shlex.split(text.replace("\\\n", " "))]
    tiny = ["run.iterations=6", "run.checkpoint_every=3", "networks.generator.maps=4", "networks.generator.blocks=1"]
    short = [word for text in tiny for word in ("--method-set" if command.startswith("run") else "--set", text)]
    return [command.split()[0], *command.split()[1:], *words, *short]


def test_the_papers_chain_fits_together(tmp_path: Path, large_victim: Path) -> None:
    out = tmp_path / "comics"
    command = "run uap/comics-prior"
    words = [STAND_INS.get(word, word) for word in chain(command, out, large_victim)]
    text = well(*words, *QUICK)
    gan, crafting = (tomllib.loads((out / name / "recipe.toml").read_text()) for name in ("gan", "crafting"))
    # The GAN has a classifier of its own in the loop and makes small images; the victim sees the enlarged ones.
    assert gan["networks"]["classifier"]["trained_by"] == "cbgan/digits-annotator"
    assert crafting["data"]["image_size"] == 16
    assert crafting["networks"]["classifier"]["weights"].startswith(str(large_victim))
    assert crafting["losses"]["fooling"]["weight"] == 10.0
    assert Perturbation.load(out / "uap.safetensors").delta.shape[-1] == 16
    assert json.loads((out / "evaluation" / "evaluation.json").read_text())["scores"]["uap"]["digits16"]["images"] == 355
    assert re.search(r"mean confidence in them is [01]\.\d\d, the mean entropy \d\.\d\d nats", " ".join(text.split()))
    well(*chain("craft uap/gap", out, large_victim), "--set", "loop.skip_gradient=1.0")
    assert Perturbation.load(out / "second" / "uap.safetensors").delta.shape[-1] == 16


def test_a_size_is_of_a_proxy_set() -> None:
    message = refused("craft", *DIGITS, "--data", "uap/shapes", "--proxy-size", "16")
    assert "--data-set image_size=N" in message


def test_the_demo_fools_more_than_noise_of_its_budget(demo):
    out, text = demo
    scores = json.loads((out / "evaluation" / "evaluation.json").read_text())["scores"]
    crafted = scores["uap"]["digits-classifier"]
    (noise,) = [of["digits-classifier"] for row, of in scores.items() if row.startswith("noise")]
    assert crafted["fooling_rate"] > noise["fooling_rate"] + 0.08
    assert crafted["accuracy"] > 0.9
    assert crafted["images"] == 355
    assert f"{100 * crafted['fooling_rate']:.2f}" in text


def test_the_demo_writes_what_it_says(demo):
    out, _ = demo
    for name in ("classes.png", "uap.png", "uap.safetensors", "evaluation/transfer.png", "evaluation/examples.png"):
        assert (out / name).stat().st_size > 0
    for picture in out.rglob("*.png"):
        with Image.open(picture) as image:
            image.verify()
    budgets = json.loads((out / "evaluation" / "evaluation.json").read_text())["budgets"]["digits-classifier"]
    assert [float(e) for e in budgets] == pytest.approx([0, 16 / 255, 32 / 255, 64 / 255], abs=1e-6)


def test_the_target_is_not_read_before_the_scores(demo):
    """Nothing of the crafting knows the digits: its images are the proxy set's, whose GAN saw drawn shapes."""
    out, _ = demo
    gan = tomllib.loads((out / "gan" / "recipe.toml").read_text())
    crafting = tomllib.loads((out / "crafting" / "recipe.toml").read_text())
    assert gan["data"]["use"] == "uap/shapes"
    assert crafting["data"]["use"] == "uap/proxy"
    for recipe in (gan, crafting):
        assert not recipe["sources"]


def test_a_perturbation_says_how_it_was_made_and_keeps_its_budget(demo):
    out, _ = demo
    perturbation = Perturbation.load(out / "uap.safetensors")
    levels = perturbation.delta * 255
    assert torch.equal(levels.round(), levels.double().round().float())
    assert float(levels.abs().max()) <= 64 + 1e-4
    assert float(levels.abs().max()) > 32
    assert perturbation.about["victims"].keys() == {"digits-classifier"}
    assert perturbation.about["data"] == "uap/proxy"
    assert perturbation.about["images"] == 10 * 1024


def test_a_finished_run_is_not_repeated(demo):
    out, before = demo
    stamps = {path: path.stat().st_mtime_ns for path in [*out.glob("proxy/*"), *out.glob("gan/checkpoints/*")]}
    saved = (out / "uap.safetensors").read_bytes()
    words = ["uap/digits-prior", "--method", "uap/digits-direct", *DIGITS, "--target", "digits", "--epsilon", "16/255,32/255"]
    text = well("run", *words, "--out", out)
    assert "already" in text
    assert {path: path.stat().st_mtime_ns for path in stamps} == stamps
    assert (out / "uap.safetensors").read_bytes() == saved
    assert text.splitlines()[-6:] == before.splitlines()[-6:]


def test_a_stopped_prior_goes_on_to_the_same_proxy_set(prior, tmp_path):
    well("prior", "uap/digits-prior", *DIGITS, *QUICK, "--out", tmp_path)
    # As if it had been stopped while sampling: the summary and a cycle are missing.
    (tmp_path / "proxy" / "proxy.json").unlink()
    cycles = sorted((tmp_path / "proxy").glob("cycle-*"))
    cycles[-1].unlink()
    before = cycles[0].stat().st_mtime_ns
    well("prior", "uap/digits-prior", *DIGITS, *QUICK, "--out", tmp_path)
    assert cycles[0].stat().st_mtime_ns == before
    for path in cycles:
        assert path.read_bytes() == (prior / "proxy" / path.name).read_bytes()


def test_a_proxy_set_of_pictures_is_the_same_set(prior, tmp_path):
    well("prior", "uap/digits-prior", *DIGITS, *QUICK, "--format", "png", "--out", tmp_path)
    pictures = sorted(tmp_path.glob("proxy/cycle-*/*.png"))
    assert len(pictures) == 90
    from gancore_uap.proxy import ProxySet

    one, two = ProxySet(path=str(prior / "proxy")).load("train"), ProxySet(path=str(tmp_path / "proxy")).load("train")
    assert torch.equal(one[0], two[0])
    assert torch.equal(one[1], two[1])


def test_several_victims_are_fooled_at_once(prior, tmp_path):
    second = tmp_path / "second.toml"
    second.write_text(
        '[networks.classifier]\nuse = "standard/mlp-classifier"\nclasses = 10\nchannels = 1\nimage_size = 8\n'
        'trained_by = "cbgan/digits-annotator"\ninherits = []\n'
    )
    both = [*DIGITS, "--victim", second]
    words = ["--proxy", prior / "proxy", "--set", "run.iterations=3", "--set", "losses.fooling.target=3"]
    well("craft", "uap/direct", *both, *words, "--out", tmp_path / "both")
    losses = tomllib.loads((tmp_path / "both" / "crafting" / "recipe.toml").read_text())["losses"]
    # What is set for one victim goes for all.
    assert losses["fooling"]["target"] == losses["fooling2"]["target"] == 3
    assert losses["fooling2"]["reads"] == {"classifier": "classifier2"}
    assert Perturbation.load(tmp_path / "both" / "uap.safetensors").about["victims"].keys() == {"digits-classifier", "second"}
    losses = json.loads((tmp_path / "both" / "crafting" / "log.jsonl").read_text().splitlines()[-1])["losses"]
    assert losses.keys() == {"generator/fooling", "generator/fooling2"}
    text = well(
        *("evaluate", tmp_path / "both" / "uap.safetensors", *both, "--target", "digits", "--samples", "50"),
        *("--out", tmp_path / "scores"),
    )
    assert "digits-classifier" in text
    assert "second" in text


def test_a_run_of_a_classifier_is_a_victim(prior, tmp_path):
    trained = CliRunner().invoke(
        main, ["train", "cbgan/digits-annotator", "--set", "run.iterations=40", "--out", str(tmp_path / "mine")]
    )
    assert trained.exit_code == 0, trained.output
    words = ["--victim", tmp_path / "mine", "--proxy", prior / "proxy", "--set", "run.iterations=2"]
    well("craft", "uap/direct", *words, "--out", tmp_path / "out")
    well(
        *("evaluate", tmp_path / "out" / "uap.safetensors", "--victim", tmp_path / "mine", "--target", "digits"),
        *("--out", tmp_path / "scores"),
    )
    scores = json.loads((tmp_path / "scores" / "evaluation.json").read_text())["scores"]["uap"]["mine"]
    last = json.loads((tmp_path / "mine" / "scores.jsonl").read_text().splitlines()[-1])["scores"]["accuracy/accuracy"]
    assert scores["accuracy"] == pytest.approx(last)


def test_a_target_class_is_counted(cache, tmp_path):
    words = ["--data", "digits", "--set", "run.iterations=150", "--set", "losses.fooling.target=8"]
    words += ["--set", "networks.generator.epsilon=0.5"]
    well("craft", "uap/direct", *DIGITS, *words, "--out", tmp_path)
    well(
        *("evaluate", tmp_path / "uap.safetensors", *DIGITS, "--target", "digits", "--target-class", "8"),
        *("--out", tmp_path / "scores"),
    )
    scores = json.loads((tmp_path / "scores" / "evaluation.json").read_text())["scores"]["uap"]["digits-classifier"]
    assert scores["targeted_success"] > 0.2
    assert scores["dominant"][0][0] == 8


def test_scores_are_of_the_images_that_a_file_would_hold(demo, tmp_path):
    """Saved 8-bit images, perturbed outside of gancore, give the rate that the command prints."""
    out, _ = demo
    from gancore_standard.datasets import Digits
    from gancore_training.progress import Progress
    from gancore_uap.victims import open_victims

    from gancore.registry import registry
    from gancore.tools import to_unit

    images, _ = Digits().load("test")
    delta = Perturbation.load(out / "uap.safetensors").delta.numpy()
    changed = np.clip(images.numpy().astype(int) + np.rint(delta * 255).astype(int), 0, 255).astype(np.uint8)
    for number in range(len(changed)):
        Image.fromarray(changed[number, 0]).save(tmp_path / f"{number}.png")
    read = np.stack([np.asarray(Image.open(tmp_path / f"{number}.png")) for number in range(len(changed))])
    assert int(np.abs(read.astype(int) - images.numpy()[:, 0]).max()) <= 64
    opened = open_victims(["uap/digits-classifier"], {"use": "digits"}, registry(), torch.device("cpu"), Progress())
    victim = opened["digits-classifier"]
    with torch.no_grad():
        clean, perturbed = (victim(to_unit(x)).argmax(1) for x in (images, torch.from_numpy(read)[:, None]))
    scores = json.loads((out / "evaluation" / "evaluation.json").read_text())["scores"]["uap"]["digits-classifier"]
    assert scores["fooling_rate"] == pytest.approx(float((clean != perturbed).double().mean()))


def _stopped_at(iteration: int, patch: pytest.MonkeyPatch) -> None:
    """Have a Ctrl-C come at the end of an iteration of the prior's training."""
    import os
    import signal

    from gancore.engine.run import Run

    step = Run.step

    def stepped(self: Run) -> None:
        step(self)
        if self.iteration == iteration and "discriminator" in self.networks:
            os.kill(os.getpid(), signal.SIGINT)

    patch.setattr(Run, "step", stepped)


def test_a_prior_that_was_stopped_between_cycles_samples_the_same_cycles(prior, tmp_path):
    with pytest.MonkeyPatch.context() as patch:
        _stopped_at(13, patch)
        result = call("prior", "uap/digits-prior", *DIGITS, *QUICK, "--out", tmp_path)
    assert result.exit_code == 130
    assert "The same command goes on" in result.output
    well("prior", "uap/digits-prior", *DIGITS, *QUICK, "--out", tmp_path)
    names = sorted(path.name for path in (prior / "proxy").glob("cycle-*"))
    assert names == [f"cycle-{end:08d}.safetensors" for end in (10, 15, 20)]
    assert sorted(path.name for path in (tmp_path / "proxy").glob("cycle-*")) == names
    for name in names:
        assert (tmp_path / "proxy" / name).read_bytes() == (prior / "proxy" / name).read_bytes()


def _victim(path: Path, seed: int, **keys: Any) -> Path:
    """Write a victim of random weights, and return its recipe."""
    from gancore_standard.networks.small_cnn import SmallCNN

    from gancore.files.tensors import write_tensors

    classes = keys.get("classes", 10)
    torch.manual_seed(seed)
    weights = path.with_suffix(".safetensors")
    write_tensors(weights, SmallCNN(channels=1, image_size=8, classes=classes).state_dict(), {})
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(
        f'[networks.classifier]\nuse = "standard/small-cnn"\nclasses = {classes}\nchannels = 1\nimage_size = 8\n'
        f'weights = "{weights}"\n' + "".join(f"{key} = {value}\n" for key, value in keys.items() if key != "classes")
    )
    return path


def test_a_named_victim_leaves_nothing_of_the_recipes_own(tmp_path):
    own = _victim(tmp_path / "own.toml", 0, input_mean=[0.1], input_std=[0.3])
    recipe = tmp_path / "prior.toml"
    recipe.write_text('extends = "uap/digits-prior"\n' + own.read_text())
    other = _victim(tmp_path / "other.toml", 1)
    well("prior", recipe, "--victim", other, *QUICK, "--out", tmp_path / "out")
    network = tomllib.loads((tmp_path / "out" / "gan" / "recipe.toml").read_text())["networks"]["classifier"]
    assert network["weights"] == str(tmp_path / "other.safetensors")
    assert not network.keys() & {"input_mean", "trained_by"}


def test_the_balance_is_of_the_victims_classes(tmp_path):
    victim = _victim(tmp_path / "seven.toml", 0, classes=7)
    well("prior", "uap/digits-prior", "--victim", victim, *QUICK, "--out", tmp_path / "out")
    balance = tomllib.loads((tmp_path / "out" / "gan" / "recipe.toml").read_text())["losses"]["balance"]
    assert balance["classes"] == 7
    assert json.loads((tmp_path / "out" / "proxy" / "proxy.json").read_text())["classes"] == 7


def test_files_that_change_under_their_names_are_noticed(prior, tmp_path):
    victim = _victim(tmp_path / "v.toml", 0)
    words = ["craft", "uap/direct", "--victim", victim, "--proxy", prior / "proxy", "--set", "run.iterations=2"]
    well(*words, "--out", tmp_path / "out")
    saved = (tmp_path / "out" / "uap.safetensors").read_bytes()
    well(*words, "--out", tmp_path / "out")
    _victim(tmp_path / "v.toml", 1)
    assert "weights changed since" in refused(*words, "--out", tmp_path / "out")
    assert (tmp_path / "out" / "uap.safetensors").read_bytes() == saved


def test_another_proxy_set_of_the_same_folder_is_noticed(prior, tmp_path):
    import shutil

    shutil.copytree(prior / "proxy", tmp_path / "proxy")
    words = ["craft", "uap/direct", *DIGITS, "--proxy", tmp_path / "proxy", "--set", "run.iterations=2", "--out", tmp_path]
    well(*words)
    assert len(Perturbation.load(tmp_path / "uap.safetensors").about["proxy"]) == 16
    path = tmp_path / "proxy" / "proxy.json"
    path.write_text(path.read_text().replace('"uap/digits-prior"', '"another"'))
    assert "proxy changed since" in refused(*words)


def test_the_folder_of_a_proxy_set_may_be_spelled_in_two_ways(prior, tmp_path, monkeypatch):
    words = ["craft", "uap/direct", *DIGITS, "--set", "run.iterations=2", "--out", tmp_path, "--proxy"]
    well(*words, prior / "proxy")
    monkeypatch.chdir(prior)
    well(*words, "proxy")


def test_victims_of_one_name_are_told_apart(prior, tmp_path):
    one, two = _victim(tmp_path / "a" / "v.toml", 0), _victim(tmp_path / "b" / "v.toml", 1)
    words = ["--victim", one, "--victim", two]
    well("craft", "uap/direct", *words, "--proxy", prior / "proxy", "--set", "run.iterations=1", "--out", tmp_path)
    victims = Perturbation.load(tmp_path / "uap.safetensors").about["victims"]
    assert victims.keys() == {str(one), str(two)}
    assert len(set(victims.values())) == 2


def test_classes_of_their_own_leave_the_fooling_rate(demo, tmp_path):
    out, _ = demo
    twenty = _victim(tmp_path / "twenty.toml", 0, classes=20)
    words = [out / "uap.safetensors", "--victim", twenty, "--target", "digits", "--out", tmp_path / "scores"]
    assert "--other-classes" in refused("evaluate", *words)
    assert not (tmp_path / "scores" / "evaluation.json").exists()
    assert "accuracy" not in well("evaluate", *words, "--other-classes")
    scores = json.loads((tmp_path / "scores" / "evaluation.json").read_text())["scores"]["uap"]["twenty"]
    assert scores["accuracy"] is None
    assert 0 <= scores["fooling_rate"] <= 1


def test_a_whole_run_checks_its_last_stage_first(tmp_path):
    words = ["run", "uap/digits-prior", *DIGITS, *QUICK, "--out", tmp_path / "out", "--method", "uap/digits-direct"]
    assert "dijits" in refused(*words, "--target", "dijits")
    assert "uap/nope" in refused(*words, "--target", "digits", "--method", "uap/nope")
    assert "named twice" in refused(*words, "--target", "digits", *DIGITS)
    assert "epsilon = 4" in refused(*words, "--target", "digits", "--epsilon", "4,8")
    assert "no class 99" in refused(*words, "--target", "digits", "--target-class", "99")
    assert "no class 12" in refused(*words, "--target", "digits", "--method-set", "losses.fooling.target=12")
    assert "trains no perturbation" in refused(*words, "--target", "digits", "--method", "cbgan/digits-lt-baseline")
    assert not (tmp_path / "out").exists()


# -- bad input ---------------------------------------------------------------------------------------------------------


def test_folders_that_cannot_be_written_are_refused_before_the_work(demo, tmp_path):
    out, _ = demo
    (tmp_path / "file").write_text("mine")
    for bad in (tmp_path / "file", tmp_path / "file" / "below"):
        assert str(bad) in refused("evaluate", out / "uap.safetensors", *DIGITS, "--target", "digits", "--out", bad)
    (tmp_path / "proxy").write_text("mine")
    assert "proxy" in refused("prior", "uap/digits-prior", *DIGITS, *QUICK, "--out", tmp_path)
    assert not (tmp_path / "gan").exists()


def test_points_in_the_plane_are_refused(demo, tmp_path):
    out, _ = demo
    assert "8 bits" in refused("craft", "uap/direct", *DIGITS, "--data", "dsgan/rings", "--out", tmp_path / "out")
    words = [*DIGITS, "--target", "dsgan/rings", "--out", tmp_path / "scores"]
    assert "8 bits" in refused("evaluate", out / "uap.safetensors", *words)


def test_what_would_be_ignored_is_refused(prior, demo, tmp_path):
    out, _ = demo
    words = ["--proxy", prior / "proxy", "--data-set", "foo=1"]
    assert "--data-set" in refused("craft", "uap/direct", *DIGITS, *words)
    twice = [out / "uap.safetensors", out / "uap.safetensors"]
    assert "named twice" in refused("evaluate", *twice, *DIGITS, "--target", "digits")


def test_a_run_that_is_not_finished_is_no_victim(tmp_path):
    import shutil

    trained = CliRunner().invoke(
        main, ["train", "cbgan/digits-annotator", "--set", "run.iterations=4", "--out", str(tmp_path / "mine")]
    )
    assert trained.exit_code == 0, trained.output
    shutil.rmtree(tmp_path / "mine" / "weights")
    assert "is not finished" in refused("craft", "--victim", tmp_path / "mine", "--data", "digits")


def test_a_victim_of_other_classes_is_refused(prior, tmp_path):
    other = tmp_path / "other.toml"
    other.write_text(
        '[networks.classifier]\nuse = "standard/small-cnn"\nclasses = 7\nchannels = 1\nimage_size = 8\n'
        f'weights = "{_weights(tmp_path)}"\n'
    )
    assert "classes" in refused("craft", "--victim", other, "--proxy", prior / "proxy", "--out", tmp_path / "out")


def test_a_victim_with_fewer_classes_than_the_target_is_refused(demo, tmp_path):
    out, _ = demo
    from gancore_standard.networks.small_cnn import SmallCNN

    from gancore.files.tensors import write_tensors

    write_tensors(tmp_path / "five.safetensors", SmallCNN(channels=1, image_size=8, classes=5).state_dict(), {})
    five = tmp_path / "five.toml"
    five.write_text(
        '[networks.classifier]\nuse = "standard/small-cnn"\nclasses = 5\nchannels = 1\nimage_size = 8\n'
        f'weights = "{tmp_path / "five.safetensors"}"\n'
    )
    words = ["--victim", five, "--target", "digits", "--out", tmp_path / "scores"]
    assert "classes" in refused("evaluate", out / "uap.safetensors", *words)


def _weights(folder: Path) -> Path:
    from gancore_standard.networks.small_cnn import SmallCNN

    from gancore.files.tensors import write_tensors

    path = folder / "ten.safetensors"
    write_tensors(path, SmallCNN(channels=1, image_size=8, classes=10).state_dict(), {})
    return path


@pytest.mark.parametrize("epsilon", ["0", "-0.1", "1.5"])
def test_a_budget_out_of_range_is_refused(prior, tmp_path, epsilon):
    words = ["--proxy", prior / "proxy", "--set", f"networks.generator.epsilon={epsilon}", "--out", tmp_path / "out"]
    text = refused("craft", "uap/direct", *DIGITS, *words)
    assert "epsilon" in text
    assert not (tmp_path / "out").exists()


def test_an_empty_or_missing_proxy_set_is_refused(prior, tmp_path):
    words = ["craft", "uap/direct", *DIGITS, "--out", tmp_path / "out", "--proxy"]
    assert str(tmp_path / "nothing") in refused(*words, tmp_path / "nothing")
    empty = tmp_path / "empty"
    empty.mkdir()
    described = json.loads((prior / "proxy" / "proxy.json").read_text())
    (empty / "proxy.json").write_text(json.dumps({**described, "cycles": []}))
    assert "empty" in refused(*words, empty) or "no image" in refused(*words, empty)
    assert not (tmp_path / "out").exists()


def test_a_prior_without_cycles_is_refused(tmp_path):
    words = ["uap/digits-prior", *DIGITS, "--out", tmp_path / "out"]
    assert "0 of the 10 cycles" in refused("prior", *words, "--set", "run.checkpoint_every=0")
    assert "4 of the 10 cycles" in refused("prior", *words, "--set", "run.iterations=160")
    assert not (tmp_path / "out").exists()


def test_a_prior_without_a_classifier_is_refused(tmp_path):
    words = ["--set", "networks.classifier=false", "--set", "losses.activation=false", "--set", "losses.balance=false"]
    assert "--victim" in refused("prior", "uap/digits-prior", *words, "--out", tmp_path / "out")


def test_another_recipe_in_the_same_folder_is_refused(prior):
    words = [*QUICK, "--set", "run.seed=3", "--out", prior]
    assert "another recipe" in refused("prior", "uap/digits-prior", *DIGITS, *words)


def test_images_smaller_than_the_victims_input_are_refused(tmp_path):
    from gancore_standard.torchvision_import import torchvision

    from gancore.files.tensors import write_tensors

    network = torchvision().models.squeezenet1_1(weights=None, num_classes=10)
    write_tensors(tmp_path / "w.safetensors", network.state_dict(), {})
    victim = tmp_path / "large.toml"
    victim.write_text(
        '[networks.classifier]\nuse = "uap/torchvision"\nmodel = "squeezenet1_1"\nclasses = 10\ninput_size = 64\n'
        f'weights = "{tmp_path / "w.safetensors"}"\n'
    )
    text = refused("craft", "uap/direct", "--victim", victim, "--data", "uap/shapes", "--out", tmp_path / "out")
    assert "64" in text
    assert "32" in text


def test_a_perturbation_of_another_size_is_refused(demo, tmp_path):
    out, _ = demo
    words = [*DIGITS, "--target", "digits", "--target-set", "image_size=16", "--out", tmp_path / "scores"]
    text = refused("evaluate", out / "uap.safetensors", *words)
    assert "8" in text
    assert "16" in text


def test_unknown_names_are_refused(prior, tmp_path, demo):
    out, _ = demo
    assert "uap/digits-clasifier" in refused("craft", "--victim", "uap/digits-clasifier", "--proxy", prior / "proxy")
    assert "no [networks.classifier]" in refused("craft", "--victim", "uap/sgm", "--proxy", prior / "proxy")
    assert "no run" in refused("craft", "--victim", tmp_path, "--proxy", prior / "proxy")
    assert "no classifier" in refused("craft", "--victim", prior / "gan", "--proxy", prior / "proxy")
    assert "not both" in refused("craft", *DIGITS)
    assert "not both" in refused("craft", *DIGITS, "--proxy", prior / "proxy", "--data", "digits")
    missing = refused("evaluate", tmp_path / "none.safetensors", *DIGITS, "--target", "digits")
    assert str(tmp_path / "none.safetensors") in missing
    assert "dijits" in refused("evaluate", out / "uap.safetensors", *DIGITS, "--target", "dijits")
    words = [*DIGITS, "--target", "digits", "--epsilon", "ten"]
    assert "--epsilon = 'ten'" in refused("evaluate", out / "uap.safetensors", *words)
    assert "named twice" in refused("evaluate", out / "uap.safetensors", *DIGITS, *DIGITS, "--target", "digits")


def test_a_recipe_that_trains_no_perturbation_is_refused(prior, tmp_path):
    words = ["--proxy", prior / "proxy", "--set", "run.iterations=1", "--out", tmp_path / "out"]
    text = refused("craft", "cbgan/digits-lt-baseline", *DIGITS, *words)
    assert "perturbation" in text


def test_several_processes_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "0")
    done = CliRunner().invoke(main, ["uap", "prior", "uap/digits-prior", "--victim", "digits", "--out", "unused"])
    assert done.exit_code == 2
    assert "gancore uap runs in one process; start it without torchrun." in done.output


# -- the score of a prior ------------------------------------------------------------------------------------------------

SCORE = [
    "metrics.fooling.use=uap/fooling-rate",
    "metrics.fooling.victim=uap/digits-classifier",
    "metrics.fooling.target=digits",
    "metrics.fooling.method=uap/digits-direct",
    'metrics.fooling.method_set=["run.iterations=30"]',
    "metrics.fooling.images=30",
]


def scored(folder: Path, *texts: str) -> dict[str, float]:
    run = open_run(folder, registry(), torch.device("cpu"), assignments=[*SCORE, *texts])
    before = {name: value.clone() for name, value in tensors_of(run).items()}
    values = Evaluator(run, ["fooling"])().values
    assert all(torch.equal(value, before[name]) for name, value in tensors_of(run).items())
    return {name.removeprefix("fooling/"): value for name, value in values.items()}


def test_a_prior_is_scored_by_what_the_commands_craft_on_its_images(prior: Path, tmp_path: Path) -> None:
    gan = tmp_path / "gan"
    shutil.copytree(prior / "gan", gan)
    # As a training leaves it that was stopped within a cycle, and went on.
    shutil.copy(gan / "checkpoints" / "00000015.safetensors", gan / "checkpoints" / "00000017.safetensors")
    values = scored(gan)
    # The same cycles, images and classes as those of `gancore uap prior`.
    (proxy,) = (gan / "uap").glob("proxy-*")
    for path in (prior / "proxy").glob("*.safetensors"):
        assert read_tensors(path)[0]["images"].equal(read_tensors(proxy / path.name)[0]["images"])
    summary = json.loads((prior / "proxy" / "proxy.json").read_text())
    assert values["entropy"] == pytest.approx(np.mean([cycle["entropy"] for cycle in summary["cycles"]]))
    assert values["classes"] == np.count_nonzero(np.sum([cycle["counts"] for cycle in summary["cycles"]], 0))
    by_hand = tmp_path / "by-hand"
    short = ["--set", "run.iterations=30"]
    well("craft", "uap/digits-direct", *DIGITS, "--proxy", prior / "proxy", *short, "--out", by_hand)
    (crafted,) = (gan / "uap").glob("crafted-*")
    assert Perturbation.load(crafted / "uap.safetensors").delta.equal(Perturbation.load(by_hand / "uap.safetensors").delta)
    well("evaluate", by_hand / "uap.safetensors", *DIGITS, "--target", "digits", "--out", by_hand / "scores")
    rows = json.loads((by_hand / "scores" / "evaluation.json").read_text())["scores"]
    rates = {name.partition(",")[0]: of["digits-classifier"]["fooling_rate"] for name, of in rows.items()}
    assert (values["fooling_rate"], values["noise"]) == (rates["uap"], rates["noise"])
    # What is there is not made anew.
    made = [*proxy.glob("*.safetensors"), *(crafted / "crafting" / "checkpoints").iterdir()]
    times = {path: path.stat().st_mtime_ns for path in made}
    assert scored(gan) == values
    assert {path: path.stat().st_mtime_ns for path in times} == times


def test_other_images_stand_in_the_generated_ones_place(prior: Path, tmp_path: Path) -> None:
    gan = tmp_path / "gan"
    shutil.copytree(prior / "gan", gan)
    for place, use in (("data", "uap/shapes"), ("target", "standard/digits")):
        values = scored(gan, f"metrics.fooling.crafted_on={place}")
        assert values.keys() == {"fooling_rate", "noise"}
        (folder,) = (path for path in (gan / "uap").glob("crafted-*") if not (path / "told").exists())
        (folder / "told").touch()
        assert tomllib.loads((folder / "crafting" / "recipe.toml").read_text())["data"]["use"] == use
    assert not list((gan / "uap").glob("proxy-*"))


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (["metrics.fooling.victim=uap/digits-none"], "uap/digits-none"),
        (["metrics.fooling.method=uap/digits-prior"], "trains no perturbation"),
        (["metrics.fooling.target=digtis"], "digtis"),
    ],
)
def test_what_a_score_can_not_have_is_refused(prior: Path, texts: list[str], message: str) -> None:
    with pytest.raises(GancoreError, match=message) as refused:
        scored(prior / "gan", *texts)
    assert len(str(refused.value)) <= 400


def test_a_prior_is_scored_when_its_training_has_ended(prior: Path, tmp_path: Path) -> None:
    gan = tmp_path / "gan"
    shutil.copytree(prior / "gan", gan)
    run = open_run(gan, registry(), torch.device("cpu"), assignments=SCORE)
    run.iteration += 1
    with pytest.raises(GancoreError, match="has no checkpoint of iteration 21, where its last cycle would end"):
        Evaluator(run, ["fooling"])()

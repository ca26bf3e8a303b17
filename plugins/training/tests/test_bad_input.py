"""Bad input of any kind gets one sentence that says what, where and what to do, and exit status 2; nothing is lost."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import gancore_training
import pytest
import torch
from click.testing import CliRunner, Result
from gancore_training import checkpoint
from safetensors.torch import save_file

from gancore.cli import main as cli
from tests.hosts import installed, registry

RECIPE = """
[run]
iterations = 2
batch_size = 8
latent_dim = 4
precision = "float32"
checkpoint_every = 1
[data]
use = "standard/digits"
[networks.generator]
use = "probe/tiny-generator"
[networks.discriminator]
use = "probe/tiny-discriminator"
[heads.adversarial]
use = "standard/linear"
[losses.adversarial]
use = "standard/hinge"
"""


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Result]]:
    """Run a command in a folder that holds tiny.toml, with the probe plugin installed."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GANCORE_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("GANCORE_DATA", raising=False)
    (tmp_path / "tiny.toml").write_text(RECIPE)
    with installed(registry(training=gancore_training)):
        yield lambda *words: CliRunner().invoke(cli.main, [str(word) for word in words], catch_exceptions=False)


def refused(result: Result, *sentence: str, lines: int = 1) -> None:
    """Assert exit status 2 and one line that holds all pieces of the sentence."""
    assert result.exit_code == 2, result.output
    assert "Traceback" not in result.output
    shown = [line for line in result.output.splitlines() if line.strip()]
    assert shown[-lines].startswith("Error: "), result.output
    for piece in sentence:
        assert piece in result.output, result.output
    if lines == 1:
        assert shown[-1].endswith("."), result.output
        assert len([line for line in shown if line.startswith("Error: ")]) == 1


SETTINGS = {
    "an unknown table": (["runn.iterations=3"], "there is no table [runn] (did you mean 'run'?)"),
    "an unknown key of run": (["run.iteratoins=3"], "run has no setting 'iteratoins' (did you mean 'iterations'?)"),
    "a text for a number": (["run.iterations=many"], "run: iterations must be a whole number at least 1, not 'many'"),
    "no iterations": (["run.iterations=0"], "run: iterations must be a whole number at least 1, not 0"),
    "half a batch": (["run.batch_size=2.5"], "run: batch_size must be a whole number at least 1, not 2.5"),
    "a negative seed": (["run.seed=-1"], "run: seed must be a whole number at least 0, not -1"),
    "an unknown precision": (["run.precision=fp16"], "run: precision must be one of 'auto', 'float32', 'bfloat16', not 'fp16'"),
    "run as a number": (["run=3"], "run must be a table, not 3"),
    "a part without use": (["losses.advresarial.weight=2"], "losses.advresarial has no `use`", "did you mean 'adversarial'?"),
    "a part as a number": (["losses.adversarial=3"], "losses.adversarial must be a table", "not 3"),
    "a label in capitals": (["losses.Big.use=standard/hinge"], "label losses.Big must be lower-case letters"),
    "an unknown component": (["losses.adversarial.use=hnige"], "uses the loss 'hnige'", "did you mean 'hinge'?"),
    "a component of another kind": (["losses.adversarial.use=standard/linear"], "is a head and a schedule, not a loss"),
    "a component of a missing plugin": (
        ["losses.x.use=absent/difference"],
        "the plugin 'absent', which is not installed",
    ),
    "use as a number": (["losses.adversarial.use=3"], "losses.adversarial.use must be a text, not 3"),
    "an unknown setting": (
        ["loop.discriminator_step=2"],
        "has no setting 'discriminator_step' (did you mean 'discriminator_steps'?)",
    ),
    "a setting out of range": (["loop.discriminator_steps=0"], "discriminator_steps must be a whole number at least 1, not 0"),
    "a weight that is not a number": (["losses.adversarial.weight=heavy"], "weight must be a number, not 'heavy'"),
    "an infinite weight": (["losses.adversarial.weight=inf"], "weight must be a number, not inf"),
    "a stop before the start": (
        ["losses.adversarial.start=5", "losses.adversarial.stop=3"],
        "stop = 3 must be above start = 5",
    ),
    "a head that is missing": (
        ["losses.x.use=standard/auxiliary-classifier"],
        "asks for 'fake_classes' in its generator|asks for 'real_classes' in its discriminator|asks for",
        "add [heads.classes] or [networks.classes]",
    ),
    "a network that is missing": (
        ["losses.balance.use=probe/balance"],
        "asks for 'fake_classifier' in its generator",
        "add [heads.classifier] or [networks.classifier]",
    ),
    "a term for nobody": (["losses.x.use=standard/cross-entropy"], "takes part in no player's loss", "classifier"),
    "a player without a loss": (["losses.adversarial.weight=0"], "no loss term trains the generator"),
    "a head switched off that a loss needs": (
        ["heads.adversarial=false"],
        "asks for 'fake_adversarial' in its generator",
        "add [heads.adversarial]",
    ),
    "no generator": (["networks.generator=false"], "has no [networks.generator]"),
    "a generator that is none": (["networks.generator.use=standard/small-cnn"], "is no generator"),
    "two attacks": (["attacks.a.use=probe/free", "attacks.b.use=probe/sign"], "takes one attack, but attacks.a"),
    "an optimizer for nobody": (
        ["optimizers.generatr.lr=1"],
        "optimizers.generatr belongs to no player (did you mean 'generator'?)",
    ),
    "an unknown optimizer": (["optimizers.generator.use=adm"], "optimizer 'adm', which does not exist (did you mean 'adam'?)"),
    "a negative learning rate": (["optimizers.generator.lr=-1"], "lr must be a number above 0, not -1"),
    "an unknown schedule": (
        ["optimizers.generator.schedule.use=linaer"],
        "schedule 'linaer', which does not exist (did you mean 'linear'?)",
    ),
    "a decay above 1": (["ema.decay=1.5"], "ema: decay must be a number in [0, 1], not 1.5"),
    "a metric of no classifier": (
        ["metrics.fid.use=fid"],
        "reads the network 'annotator', which is no classifier of this recipe",
    ),
    "a frozen network without weights": (
        ["networks.classifier.use=standard/small-cnn"],
        "is frozen in this recipe, so it needs trained weights",
    ),
    "weights that are not there": (
        ["networks.classifier.use=standard/small-cnn", "networks.classifier.weights=nowhere.safetensors"],
        "there is no weights file nowhere.safetensors",
    ),
    "a head's weights that are not there": (
        ["heads.adversarial.weights=nowhere.safetensors"],
        "there is no weights file nowhere",
    ),
    "a training recipe that is not there": (
        ["networks.classifier.use=standard/small-cnn", "networks.classifier.trained_by=probe/nothing"],
        "there is no recipe 'probe/nothing'",
    ),
    "a training recipe of another network": (
        ["networks.generator.trained_by=probe/annotator"],
        "probe/annotator trains no generator; choose another trained_by",
    ),
    "a training recipe without the head": (
        ["heads.adversarial.trained_by=probe/annotator"],
        "probe/annotator trains no head 'adversarial'",
    ),
    "a table to inherit that does not exist": (
        [
            "networks.classifier.use=standard/small-cnn",
            "networks.classifier.trained_by=tiny.toml",
            'networks.classifier.inherits=["date"]',
        ],
        "can't inherit [date]: there is no such table",
    ),
    "a mean without a deviation": (
        ["networks.classifier.use=host/classifier", "networks.classifier.input_mean=[0.5]"],
        "needs both input_mean and input_std, or neither",
    ),
    "a mean and deviation of other lengths": (
        [
            "networks.classifier.use=host/classifier",
            "networks.classifier.input_mean=[0.5]",
            "networks.classifier.input_std=[1, 1]",
        ],
        "input_mean has 1 channels and input_std 2",
    ),
    "a sampler without its setting": (
        ["samplers.few.use=standard/per-class"],
        "needs the setting 'count' (a whole number at least 1)",
    ),
    "a batch norm that nobody declared": (["networks.discriminator.use=probe/undeclared"], "can't be loaded"),
    "no assignment": (["run.iterations"], "--set 'run.iterations' is not of the form KEY=VALUE"),
    "an assignment to nothing": (["run..seed=1"], "--set 'run..seed=1' is not of the form KEY=VALUE"),
    "a setting of a plugin's below its range": (
        ["networks.classifier.use=host/classifier", "losses.balance.use=probe/balance", "losses.balance.cycle=0"],
        "losses.balance (probe/balance): cycle must be a whole number at least 1, not 0",
    ),
}


@pytest.mark.parametrize("kind", SETTINGS)
def test_a_bad_setting(run: Callable[..., Result], tmp_path: Path, kind: str) -> None:
    settings, *sentence = SETTINGS[kind]
    assert isinstance(settings, list)
    result = run("train", "tiny.toml", "--out", "run", *(word for text in settings for word in ("--set", text)))
    pieces = [next((p for p in piece.split("|") if p in result.output), piece) for piece in map(str, sentence)]
    refused(result, *pieces)
    assert not (tmp_path / "run").exists()


RECIPES = {
    "not TOML": ("[run\n", "bad.toml is not valid TOML"),
    "an unknown table": ("[runs]\n", "bad.toml: there is no table [runs] (did you mean 'run'?)"),
    "itself as its base": ('extends = "bad.toml"\n', "extends itself"),
    "a base that is not there": (
        'extends = "probe/gmae"\n',
        "there is no recipe 'probe/gmae' (did you mean 'probe/game'?)",
    ),
    "a base that is no name": ("extends = 3\n", "extends must be the name of a recipe, not 3"),
    "only a fragment": ('[losses.adversarial]\nuse = "standard/hinge"\n', "data has no `use`"),
    "parts that are no tables": ("losses = 3\n", "losses must hold tables"),
    "nothing": ("", "data has no `use`"),
}


@pytest.mark.parametrize("kind", RECIPES)
def test_a_bad_recipe(run: Callable[..., Result], tmp_path: Path, kind: str) -> None:
    content, sentence = RECIPES[kind]
    (tmp_path / "bad.toml").write_text(content)
    refused(run("train", "bad.toml"), sentence)
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("probe/gmae", "there is no recipe 'probe/gmae' (did you mean 'probe/game'?)"),
        ("ambient/prior", "needs the plugin 'ambient', which is not installed"),
        ("nowhere.toml", "nowhere.toml can't be read"),
        (".", ". is no file; name a recipe"),
        ("binary.toml", "binary.toml is not a text file in UTF-8"),
    ],
)
def test_a_recipe_that_is_not_there(run: Callable[..., Result], tmp_path: Path, name: str, sentence: str) -> None:
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe\x00")
    refused(run("train", name), sentence)


def test_two_overlays_that_disagree_and_two_loops(run: Callable[..., Result], tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text("[run]\nseed = 1\n[loop]\nuse = 'probe/replay'\n")
    (tmp_path / "b.toml").write_text("[run]\nseed = 2\n")
    (tmp_path / "c.toml").write_text("[loop]\nuse = 'probe/three'\n")
    refused(
        run("train", "tiny.toml", "--with", "a.toml", "--with", "b.toml"), "a.toml and b.toml can't be combined", "run.seed"
    )
    refused(
        run("train", "tiny.toml", "--with", "a.toml", "--with", "c.toml"), "a.toml and c.toml can't be combined", "loop.use"
    )
    refused(run("train", "a.toml", "--with", "c.toml"), "a.toml and c.toml can't be combined", "loop.use")


@pytest.mark.parametrize("name", ["gpu", "mps", "cuda:99"])
def test_a_device_that_is_not_here(run: Callable[..., Result], name: str) -> None:
    refused(run("train", "tiny.toml", "--device", name), name)


def _weights(kind: str, path: Path) -> None:
    if kind == "damaged":
        path.write_bytes(b"\x08\x00\x00\x00\x00\x00\x00\x00{broken}")
    elif kind == "another network":
        save_file({"conv1.weight": torch.zeros(2, 2)}, path)
    else:
        from tests.standin.networks import SmallCNN

        save_file({k: v.contiguous() for k, v in SmallCNN(channels=1, image_size=8, classes=7).state_dict().items()}, path)


@pytest.mark.parametrize(
    ("kind", "sentence"),
    [
        ("damaged", "w.safetensors is damaged or no safetensors file"),
        ("another network", "holds the weights of another network"),
        ("seven classes", "in the file and (10,"),
    ],
)
def test_bad_weights(run: Callable[..., Result], tmp_path: Path, kind: str, sentence: str) -> None:
    _weights(kind, tmp_path / "w.safetensors")
    words = ["--set", "networks.classifier.use=standard/small-cnn", "--set", "networks.classifier.weights=w.safetensors"]
    refused(run("train", "tiny.toml", *words), "networks.classifier (standard/small-cnn)", sentence)


@pytest.fixture
def trained(run: Callable[..., Result], tmp_path: Path) -> Path:
    done = run("train", "tiny.toml", "--out", "run")
    assert done.exit_code == 0, done.output
    return tmp_path / "run"


def _content(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_folder_that_holds_a_run_is_never_overwritten(run: Callable[..., Result], trained: Path) -> None:
    before = _content(trained)
    refused(run("train", "tiny.toml", "--out", "run"), "run already holds a run; go on with --resume")
    result = run("train", "tiny.toml", "--out", "run", "--resume", "--set", "run.seed=5")
    refused(
        result,
        "run was trained by another recipe, so it can't be resumed: run.seed was 0 and is 5; choose another --out.",
    )
    assert _content(trained) == before


def test_a_run_that_failed_in_its_first_iteration_leaves_its_folder_to_another(
    run: Callable[..., Result], tmp_path: Path
) -> None:
    wild = ("--set", "optimizers.generator.lr=1e38", "--set", "optimizers.discriminator.lr=1e38")
    refused(run("train", "tiny.toml", "--out", "run", *wild), "at iteration 1; no checkpoint was written yet")
    assert (tmp_path / "run" / "recipe.toml").exists()
    assert run("train", "tiny.toml", "--out", "run", "--set", "run.seed=5").exit_code == 0
    assert "seed = 5" in (tmp_path / "run" / "recipe.toml").read_text()


@pytest.mark.parametrize("name", ["log.jsonl", "samples/00000001.png", "checkpoints/00000001.safetensors"])
def test_what_a_run_has_written_is_left(run: Callable[..., Result], trained: Path, name: str) -> None:
    for path in [*trained.glob("*/*"), trained / "log.jsonl"]:
        path.unlink()
    (trained / name).write_text("")
    refused(run("train", "tiny.toml", "--out", "run"), "run already holds a run; go on with --resume")


def test_folders_that_can_not_take_a_run(run: Callable[..., Result], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.tex").write_text("years of work")
    refused(run("train", "tiny.toml", "--out", "file"), "file is a file; choose another --out")
    refused(run("train", "tiny.toml", "--out", "full"), "full holds other files and no run; choose another --out")
    refused(run("train", "tiny.toml", "--out", "file/below"), "file/below can't be written")
    assert (tmp_path / "full" / "thesis.tex").read_text() == "years of work"


@pytest.mark.parametrize("damage", ["cut", "noise", "empty", "another recipe's", "another format"])
def test_a_bad_checkpoint_is_named_and_nothing_is_lost(run: Callable[..., Result], trained: Path, damage: str) -> None:
    newest = checkpoint.checkpoints(trained)[-1]
    content = newest.read_bytes()
    if damage == "cut":
        newest.write_bytes(content[: len(content) // 2])
    elif damage == "noise":
        newest.write_bytes(bytes(reversed(content)))
    elif damage == "empty":
        newest.write_bytes(b"")
    elif damage == "another recipe's":
        newest.write_bytes(content.replace(b'iterations\\": 2', b'iterations\\": 3'))
    else:
        newest.write_bytes(content.replace(b'format\\": 2', b'format\\": 7'))
    before = _content(trained)
    for words in (("train", "tiny.toml", "--out", "run", "--resume"), ("sample", "run"), ("evaluate", "run")):
        result = run(*words)
        if words[0] == "evaluate" and "has no metrics" in result.output:
            continue
        refused(result, "00000002.safetensors")
    assert _content(trained) == before


def test_commands_on_what_is_no_run(run: Callable[..., Result], tmp_path: Path) -> None:
    (tmp_path / "nothing").mkdir()
    for words in (("sample", "nothing"), ("evaluate", "nothing"), ("sample", "missing")):
        refused(run(*words), words[1])


def test_a_run_without_a_checkpoint(run: Callable[..., Result], trained: Path) -> None:
    for path in checkpoint.checkpoints(trained):
        path.unlink()
    refused(run("sample", "run"), "has no checkpoint yet")


def test_bad_words_of_other_commands(run: Callable[..., Result], trained: Path, tmp_path: Path) -> None:
    refused(run("sample", "run", "--classes", "3,99"), "there is no class 99: the data have the classes 0 to 9")
    refused(run("sample", "run", "--classes", "three"), "--classes 'three' must be whole numbers with commas")
    refused(run("evaluate", "run"), "has no metrics")
    refused(run("components", "losses"), "there is no kind 'losses' (did you mean 'loss'?)")


def test_a_loss_that_explodes_says_where_the_run_can_go_on(run: Callable[..., Result], tmp_path: Path) -> None:
    words = [
        "--set",
        "optimizers.discriminator.use=sgd",
        "--set",
        "optimizers.discriminator.lr=1e30",
        "--set",
        "run.log_every=2",
    ]
    refused(run("train", "tiny.toml", "--out", "run", *words), "is not finite at iteration 1; no checkpoint was written yet")


@pytest.mark.parametrize(
    "words",
    [("train", "absent/nothing"), ("train", "tiny.toml", "--set", "run.iterations=0"), ("sample", "/nowhere")],
)
def test_the_real_program_ends_with_status_2_and_one_line(tmp_path: Path, words: tuple[str, ...]) -> None:
    (tmp_path / "tiny.toml").write_text(RECIPE)
    command = [sys.executable, "-m", "gancore", *words]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("Error: ")
    assert done.stderr.count("\n") == 1

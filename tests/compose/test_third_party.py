"""A stranger's plugin, built as a wheel and installed beside gancore, and broken on purpose in every way."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
EXAMPLE = ROOT / "examples" / "gancore-plugin-r1"
RECIPE = """
[run]
iterations = {iterations}
batch_size = 8
latent_dim = 4
checkpoint_every = 2
precision = "float32"
[data]
use = "standard/digits"
[networks.generator]
use = "standard/sndcgan-generator"
width = 0.125
[networks.discriminator]
use = "standard/sndcgan-discriminator"
width = 0.125
[heads.adversarial]
use = "standard/linear"
[losses.adversarial]
use = "standard/non-saturating"
"""


class Environment:
    """A fresh virtual environment that sees this one's libraries, and what is installed into it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(path)], check=True)
        self.python = path / "bin" / "python"
        version = f"python{sys.version_info.major}.{sys.version_info.minor}"
        self.site = path / "lib" / version / "site-packages"
        # The libraries (torch and so on) come from this environment; what is under test is installed as wheels.
        libraries = Path(sysconfig.get_path("purelib"))
        for entry in libraries.iterdir():
            ours = "gancore" in entry.name.lower() or "editable" in entry.name.lower()
            if not ours and not (self.site / entry.name).exists():
                (self.site / entry.name).symlink_to(entry)

    def install(self, wheel: Path) -> None:
        self._pip("install", "--no-deps", str(wheel))

    def uninstall(self, *distributions: str) -> None:
        self._pip("uninstall", "--yes", *distributions)

    def _pip(self, *words: str) -> None:
        command = [sys.executable, "-m", "pip", "--python", str(self.python), *words, "--quiet"]
        # What PYTHONPATH names would count as installed there.
        subprocess.run(command, check=True, capture_output=True, env=_outside())

    def __call__(self, *arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
        environment = _outside() | {"OMP_NUM_THREADS": "1", "GANCORE_CACHE": str(self.path / "cache")}
        command = [str(self.python), "-m", *arguments]
        return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)


def _outside() -> dict[str, str]:
    """The environment variables, but for those that lead back to this repository."""
    return {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "GANCORE_DATA")}


def wheel_of(source: Path, out: Path) -> Path:
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(out), str(source)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return next(out.glob("*.whl"))


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Environment]:
    """An environment with gancore and what a stranger's plugin stands on, each installed from its wheel."""
    pytest.importorskip("build", reason="the package `build` makes the wheels")
    root = tmp_path_factory.mktemp("third-party")
    fresh = Environment(root / "venv")
    for name, source in (
        ("gancore", ROOT),
        ("training", ROOT / "plugins" / "training"),
        ("standard", ROOT / "plugins" / "standard"),
        ("testing", ROOT / "plugins" / "testing"),
        ("r1", EXAMPLE),
    ):
        fresh.install(wheel_of(source, root / f"wheel-{name}"))
    yield fresh
    shutil.rmtree(root, ignore_errors=True)


def test_a_strangers_plugin_from_a_wheel_is_listed_trains_and_resumes(environment: Environment, tmp_path: Path) -> None:
    where = environment("gancore", "plugins", cwd=tmp_path)
    assert "r1               gancore-plugin-r1 0.1.0: 1 loss, 1 recipe" in where.stdout, where.stderr
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(RECIPE.format(iterations=4))
    whole = environment("gancore", "train", "recipe.toml", "--with", "r1/r1", "--out", "whole", cwd=tmp_path)
    assert whole.returncode == 0, whole.stderr
    log = json.loads((tmp_path / "whole" / "log.jsonl").read_text().splitlines()[-1])
    assert log["losses"]["discriminator/r1"] > 0
    shutil.copytree(tmp_path / "whole", tmp_path / "cut")
    (tmp_path / "cut" / "checkpoints" / "00000004.safetensors").unlink()
    resumed = environment("gancore", "train", "recipe.toml", "--with", "r1/r1", "--out", "cut", "--resume", cwd=tmp_path)
    assert resumed.returncode == 0, resumed.stderr
    same = [(tmp_path / run / "checkpoints" / "00000004.safetensors").read_bytes() for run in ("whole", "cut")]
    assert same[0] == same[1]
    environment_file = json.loads((tmp_path / "whole" / "environment.json").read_text())
    assert environment_file["plugins"]["r1"] == "gancore-plugin-r1 0.1.0"


def test_the_examples_own_conformance_test_passes(environment: Environment, tmp_path: Path) -> None:
    done = environment("pytest", "-p", "no:cacheprovider", str(EXAMPLE / "tests"), cwd=tmp_path)
    assert done.returncode == 0, done.stdout[-3000:]
    assert "passed" in done.stdout


def test_a_new_plugin_works_as_it_is_written(environment: Environment, tmp_path: Path) -> None:
    made = environment("gancore", "new-plugin", "my-idea", cwd=tmp_path)
    assert made.returncode == 0, made.stderr
    environment.install(wheel_of(tmp_path / "gancore-plugin-my-idea", tmp_path / "wheel"))
    try:
        tests = tmp_path / "gancore-plugin-my-idea" / "tests"
        done = environment("pytest", "-p", "no:cacheprovider", str(tests), cwd=tmp_path)
        assert done.returncode == 0, done.stdout[-3000:]
        (tmp_path / "recipe.toml").write_text(RECIPE.format(iterations=1))
        trained = environment("gancore", "train", "recipe.toml", "--with", "my-idea/feature-gap", "--out", "run", cwd=tmp_path)
        assert trained.returncode == 0, trained.stderr
    finally:
        for path in environment.site.glob("gancore_*my_idea*"):
            shutil.rmtree(path)


def _write_distribution(site: Path, name: str, plugin: str, module: str, code: str) -> list[Path]:
    package = site / module
    package.mkdir()
    (package / "__init__.py").write_text(code)
    info = site / f"{name.replace('-', '_')}-6.6.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 6.6\n")
    (info / "entry_points.txt").write_text(f"[gancore]\n{plugin} = {module}\n")
    return [package, info]


HOOK = "import gancore\n@gancore.hookimpl\ndef {name}({arguments}):\n    {body}\n"
COMPONENT = "yield gancore.Component('x', 'nowhere:X', 'x')"
BROKEN = {
    "an import error": ("import nowhere_at_all", "importing it raised ModuleNotFoundError: No module named 'nowhere_at_all'"),
    "an exit while importing": ("raise SystemExit(3)", "importing it raised SystemExit: 3"),
    "a mistyped hook": (
        HOOK.format(name="gancore_los_terms", arguments="", body=COMPONENT),
        "gancore_los_terms is no hook of gancore (did you mean 'gancore_loss_terms'?)",
    ),
    "a hook without its decorator": (
        "import gancore\ndef gancore_loss_terms():\n    " + COMPONENT,
        "its gancore_loss_terms lacks the decorator @gancore.hookimpl",
    ),
    "a hook with an unknown argument": (
        HOOK.format(name="gancore_run_ended", arguments="runs", body="pass"),
        "its gancore_run_ended asks for runs, which the hook does not give (it gives run)",
    ),
    "another version of the contract": ("GANCORE_API = 99", "it is written for version 99 of the plugin contract"),
    "a hook that raises": (
        HOOK.format(name="gancore_heads", arguments="", body="raise RuntimeError('no\\nheads')"),
        "its gancore_heads raised RuntimeError: no heads",
    ),
    "no component": (
        HOOK.format(name="gancore_heads", arguments="", body="yield 'linear'"),
        "its gancore_heads yields 'linear', which is no gancore.Component",
    ),
    "one name twice": (
        HOOK.format(name="gancore_heads", arguments="", body=f"{COMPONENT}; {COMPONENT}"),
        "its gancore_heads yields 'x' twice",
    ),
    "a folder of recipes that is not there": (
        HOOK.format(name="gancore_recipes", arguments="", body="import pathlib; yield pathlib.Path('/nowhere')"),
        "its gancore_recipes yields '/nowhere', which is no folder",
    ),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_a_broken_plugin_is_named_hurts_nobody_and_says_the_same_when_it_is_used(
    environment: Environment, tmp_path: Path, kind: str
) -> None:
    code, cause = BROKEN[kind]
    written = _write_distribution(environment.site, "gancore-plugin-bad", "bad", "gancore_bad", code)
    try:
        listed = environment("gancore", "plugins", cwd=tmp_path)
        assert listed.returncode == 0, listed.stderr
        assert "r1               gancore-plugin-r1 0.1.0: 1 loss, 1 recipe" in listed.stdout
        assert "bad              gancore-plugin-bad 6.6: broken" in listed.stdout
        (problem,) = [line.strip() for line in listed.stdout.splitlines() if "is broken:" in line]
        assert cause in problem
        assert "upgrade or uninstall gancore-plugin-bad, or tell its author" in problem
        recipe = tmp_path / "recipe.toml"
        recipe.write_text(RECIPE.format(iterations=1))
        used = environment("gancore", "explain", "recipe.toml", "--set", "losses.x.use=bad/x", cwd=tmp_path)
        assert used.returncode == 2
        assert problem in used.stderr
        assert environment("gancore", "explain", "recipe.toml", "--with", "r1/r1", cwd=tmp_path).returncode == 0
        assert environment("gancore", "doctor", cwd=tmp_path).returncode == 1
    finally:
        for path in written:
            shutil.rmtree(path)


def test_two_distributions_of_one_plugin_name_are_both_refused_by_name(environment: Environment, tmp_path: Path) -> None:
    written = _write_distribution(environment.site, "other-r1", "r1", "other_r1", "")
    try:
        listed = environment("gancore", "plugins", cwd=tmp_path)
        assert listed.returncode == 0, listed.stderr
        (problem,) = [line for line in listed.stdout.splitlines() if "both register" in line]
        assert "gancore-plugin-r1 0.1.0" in problem
        assert "other-r1 6.6" in problem
        used = environment("gancore", "show", "standard/linear", cwd=tmp_path)
        assert used.returncode == 0, used.stderr
    finally:
        for path in written:
            shutil.rmtree(path)


def test_a_component_that_is_not_what_it_was_declared_as_is_refused_with_its_distribution(
    environment: Environment, tmp_path: Path
) -> None:
    body = "yield gancore.Component('x', 'gancore_bad:NotATerm', 'x'); yield gancore.Component('y', 'gancore_bad:Missing', 'y')"
    code = HOOK.format(name="gancore_loss_terms", arguments="", body=body) + "class NotATerm: pass\n"
    written = _write_distribution(environment.site, "gancore-plugin-bad", "bad", "gancore_bad", code)
    (tmp_path / "recipe.toml").write_text(RECIPE.format(iterations=1))
    try:
        for name, cause in (("x", "is not a subclass of gancore.LossTerm"), ("y", "has no attribute 'Missing'")):
            used = environment("gancore", "explain", "recipe.toml", "--set", f"losses.x.use=bad/{name}", cwd=tmp_path)
            assert used.returncode == 2
            assert cause in used.stderr
            assert "gancore-plugin-bad 6.6" in used.stderr
            assert "Traceback" not in used.stderr
    finally:
        for path in written:
            shutil.rmtree(path)

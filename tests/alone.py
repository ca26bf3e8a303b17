"""Each plugin alone: its wheel, and those of what it requires, in an environment of its own.

    python -m tests.alone                # all plugins of this repository
    python -m tests.alone mgan bre       # some

There all its recipes must be planned (but those of images that nobody can download, and those that get their data by
`uap run`), one that needs no files is trained for two iterations, and its own conformance test passes. Libraries come from this
environment. Exits with 1 where a plugin fails.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.compose.test_third_party import Environment, wheel_of
from tests.test_distributions import PLUGINS, ROOT, requirements

LOOK = """
import json, sys
from gancore import GancoreError
from gancore.recipe import read
from gancore.plan import make_plan
from gancore.registry import registry
from gancore.files import toml
EMBEDDED = ("standard/digits", "standard/gaussian-ring", "standard/gaussian-grid", "causalgan/faces", "dsgan/swiss-roll")
name, planned, problems, small = sys.argv[1], 0, [], []
for plugin in registry().plugins():
    problems += [f"{plugin.name}: {plugin.problem}"] if plugin.problem else []
for recipe, path in registry().recipes().items():
    table = toml.read(path)
    if not recipe.startswith(name + "/") or str(table.get("summary", "")).startswith(("Fragment", "Crafting")):
        continue
    try:
        plan = make_plan(read(recipe, registry()), registry())
    except GancoreError as error:
        problems += [] if "correct [data] path" in str(error) else [str(error)]
        continue
    planned += 1
    embedded = plan.recipe.table["data"]["use"] in EMBEDDED
    small += [recipe] if embedded and not plan.recipe.table.get("networks", {}).get("classifier") else []
print(json.dumps([problems, planned, sorted(small, key=lambda one: ("small" not in one, one))]))
"""
"""Prints what is wrong with the plugin and its recipes, how many are planned, and which train a generator and need no files."""

SHORT = [
    "--set",
    "run.iterations=2",
    "--set",
    "metrics=false",
    "--set",
    "networks.annotator=false",
    "--set",
    "run.batch_size=8",
    "--device",
    "cpu",
]


def installed(name: str, wheels: dict[str, Path], folder: Path) -> Environment:
    """Return an environment of a plugin and what it requires alone."""
    alone = Environment(folder / name)
    for needed in sorted(requirements(name) | {f"gancore-plugin-{name}", "gancore"}):
        if needed in wheels:
            alone.install(wheels[needed])
    return alone


def outcome_of(name: str, wheels: dict[str, Path], folder: Path) -> str:
    """Return what a plugin did alone.

    Raises:
        SystemExit: It did not do it; with what is wrong.
    """
    alone = installed(name, wheels, folder)
    (folder / "look.py").write_text(LOOK)
    problems, planned, small = json.loads(ended(alone("look", name, cwd=folder)))
    if problems:
        raise SystemExit("; ".join(problems))
    if small:
        ended(alone("gancore", "train", small[0], *SHORT, "--out", str(folder / f"run-{name}"), cwd=folder))
    for needed in sorted({"gancore-plugin-testing"} | requirements("testing")):
        if needed in wheels:
            alone.install(wheels[needed])
    test = PLUGINS[name] / "tests" / "test_conformance.py"
    own = test.exists() and "from tests" not in test.read_text()
    if own:
        copy = folder / f"test_{name}.py"
        copy.write_text(test.read_text())
        ended(alone("pytest", "-q", "-x", "-p", "no:cacheprovider", copy.name, cwd=folder))
    trained = f", trained {small[0]}" if small else ""
    return f"planned {planned} recipes{trained}{', conforms' if own else ''}"


def ended(done: subprocess.CompletedProcess[str]) -> str:
    """Return what a command printed.

    Raises:
        SystemExit: It failed; with what it said.
    """
    if done.returncode:
        raise SystemExit((done.stdout[-2000:] + done.stderr[-2000:]).strip())
    return done.stdout


def main(names: list[str]) -> int:
    """Try plugins, print a line for each, and return the exit status."""
    failed = []
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        sources = {"gancore": ROOT, **{f"gancore-plugin-{name}": path for name, path in PLUGINS.items()}}
        asked = names or list(PLUGINS)
        needed = {"gancore", "gancore-plugin-testing"}.union(
            *({f"gancore-plugin-{name}"} | requirements(name) for name in (*asked, "testing"))
        )
        wheels = {name: wheel_of(source, folder / name) for name, source in sources.items() if name in needed}
        for name in asked:
            try:
                outcome = outcome_of(name, wheels, folder)
            except SystemExit as failure:
                failed.append(name)
                outcome = f"FAILED: {failure}"
            print(f"{name:14} {outcome}", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

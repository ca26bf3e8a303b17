"""Each plugin alone: its wheel, and those of what it requires, in an environment of its own.

    python -m tests.alone                # all plugins of this repository
    python -m tests.alone mgan bre       # some

There its recipes must all be listed and planned, and one of them that needs no files is trained for two iterations. Libraries
come from this environment. Exits with 1 where a plugin fails.
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
EMBEDDED = ("standard/digits", "standard/gaussian-ring", "standard/gaussian-grid", "causalgan/faces")
name, problems, small = sys.argv[1], [], []
for plugin in registry().plugins():
    problems += [f"{plugin.name}: {plugin.problem}"] if plugin.problem else []
for recipe, path in registry().recipes().items():
    table = toml.read(path)
    if not recipe.startswith(name + "/") or str(table.get("summary", "")).startswith("Fragment"):
        continue
    try:
        plan = make_plan(read(recipe, registry()), registry())
    except GancoreError as error:
        problems.append(str(error))
        continue
    embedded = plan.recipe.table["data"]["use"] in EMBEDDED
    small += [recipe] if embedded and not plan.recipe.table.get("networks", {}).get("classifier") else []
print(json.dumps([problems, sorted(small, key=lambda one: ("small" not in one, one))]))
"""
"""Prints what is wrong with the plugin and its recipes, and which of these train a generator and need no files."""

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


def problem_of(name: str, wheels: dict[str, Path], folder: Path) -> str:
    """Return what is wrong with a plugin alone, or what it trained, beginning with ``trained``."""
    alone = Environment(folder / name)
    for needed in sorted(requirements(name) | {f"gancore-plugin-{name}", "gancore"}):
        if needed in wheels:
            alone.install(wheels[needed])
    (folder / "look.py").write_text(LOOK)
    looked = subprocess.run(
        [str(alone.python), str(folder / "look.py"), name], capture_output=True, text=True, cwd=folder, check=False
    )
    if looked.returncode:
        return looked.stderr.strip()
    problems, small = json.loads(looked.stdout)
    if problems:
        return "; ".join(problems)
    if not small:
        return "trained nothing: it has no small recipe"
    done = alone("gancore", "train", small[0], *SHORT, "--out", str(folder / f"run-{name}"), cwd=folder)
    return f"trained {small[0]}" if done.returncode == 0 else done.stderr.strip()


def main(names: list[str]) -> int:
    """Try plugins, print a line for each, and return the exit status."""
    failed = []
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        sources = {"gancore": ROOT, **{f"gancore-plugin-{name}": path for name, path in PLUGINS.items()}}
        wheels = {distribution: wheel_of(source, folder / distribution) for distribution, source in sources.items()}
        for name in names or PLUGINS:
            outcome = problem_of(name, wheels, folder)
            failed += [] if outcome.startswith("trained") else [name]
            print(f"{name:14} {outcome}", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

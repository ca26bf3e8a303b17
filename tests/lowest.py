"""The test suite with the lowest versions that the distributions say they work with, in a fresh environment.

    python tests/lowest.py                      # make lowest
    python tests/lowest.py tests/plan -x        # make lowest ARGS="tests/plan -x"

Every library that a distribution of this repository requires, extras and build backends included, is taken at the lower
bound of its requirement in the ``pyproject.toml``; what those libraries require in turn is taken as pip resolves it.
Needs nothing but the standard library, so that it runs before anything is installed.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
import venv
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
PATHS = [ROOT / "pyproject.toml", *sorted(ROOT.glob("plugins/*/pyproject.toml"))]
PROJECTS = {path.parent: tomllib.loads(path.read_text()) for path in PATHS}
HOME = ROOT / "build" / "lowest"


def requirements(project: dict[str, Any]) -> list[str]:
    """Everything that a distribution requires, as its ``pyproject.toml`` says it."""
    about = project["project"]
    extras = about.get("optional-dependencies", {}).values()
    return [*project["build-system"]["requires"], *about["dependencies"], *(line for extra in extras for line in extra)]


def pins() -> list[str]:
    """Lines of a requirements file that hold every foreign library at its lower bound.

    Raises:
        ValueError: A requirement is not of the form ``name>=version``, or two distributions state different bounds.
    """
    bounds: dict[str, str] = {}
    for line in (line for project in PROJECTS.values() for line in requirements(project) if not line.startswith("gancore")):
        match = re.fullmatch(r"([A-Za-z0-9_.-]+)>=([0-9.]+)", line)
        if match is None:
            raise ValueError(f"The requirement {line!r} states no lower bound as name>=version.")
        name, version = match.groups()
        if bounds.setdefault(name, version) != version:
            raise ValueError(f"{name} has the lower bounds {bounds[name]} and {version}; state the same one everywhere.")
    return [f"{name}=={version}" for name, version in sorted(bounds.items())]


def main(arguments: list[str]) -> int:
    """Install everything at its lower bound, and run pytest there with `arguments`; returns its exit status."""
    HOME.mkdir(parents=True, exist_ok=True)
    lowest = HOME / "lowest.txt"
    lowest.write_text("\n".join([*pins(), ""]))
    print(lowest.read_text(), flush=True)
    venv.create(HOME / "venv", clear=True, with_pip=True)
    python = HOME / "venv" / "bin" / "python"
    install = [str(python), "-m", "pip", "install", "--quiet"]
    # Hatchling asks for editables only where a build is isolated; here it is not, so that its own lower bound is tried too.
    subprocess.run([*install, "--requirement", str(lowest), "editables"], check=True)
    ours = [argument for folder in PROJECTS for argument in ("--editable", str(folder))]
    subprocess.run([*install, "--constraint", str(lowest), "--no-build-isolation", *ours], check=True)
    return subprocess.run(
        [str(python), "-m", "pytest", "--numprocesses", "auto", "--dist", "loadfile", *arguments], cwd=ROOT, check=False
    ).returncode


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))

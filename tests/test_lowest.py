"""The lower bounds of the distributions, as the script that installs them reads them."""

from __future__ import annotations

import re

import pytest

from tests import lowest


def test_every_library_that_a_distribution_requires_is_held_at_one_lower_bound() -> None:
    pins = dict(line.split("==") for line in lowest.pins())
    everything = {line for project in lowest.PROJECTS.values() for line in lowest.requirements(project)}
    foreign = {line for line in everything if not line.startswith("gancore")}
    assert foreign == {f"{name}>={version}" for name, version in pins.items()}
    assert {"torch", "torchvision", "hatchling", "pytest", "lmdb", "scikit-learn"} <= set(
        pins
    )  # core, a plugin, backend, extras


@pytest.mark.parametrize("line", ["torch", "torch<3", "torch>=2.8,<3", "torch==2.8"])
def test_a_requirement_without_a_plain_lower_bound_is_refused(line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    project = {"build-system": {"requires": []}, "project": {"dependencies": [line]}}
    monkeypatch.setattr(lowest, "PROJECTS", {lowest.ROOT: project})
    with pytest.raises(ValueError, match=re.escape(repr(line))):
        lowest.pins()


def test_two_lower_bounds_of_one_library_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    project = {"build-system": {"requires": ["click>=8.1"]}, "project": {"dependencies": ["click>=8.2"]}}
    monkeypatch.setattr(lowest, "PROJECTS", {lowest.ROOT: project})
    with pytest.raises(ValueError, match=r"click has the lower bounds 8.1 and 8.2"):
        lowest.pins()


def test_a_strangers_plugin_is_built_by_a_backend_that_ours_are_built_by() -> None:
    (pin,) = (line for line in lowest.pins() if line.startswith("hatchling"))
    requires = f'requires = ["{pin.replace("==", ">=")}"]\n'
    for path in (
        "plugins/standard/src/gancore_standard/template/pyproject.toml.txt",
        "examples/gancore-plugin-r1/pyproject.toml",
    ):
        assert requires in (lowest.ROOT / path).read_text()


def test_what_the_suite_runs_on_is_not_below_a_lower_bound() -> None:
    def number(version: str) -> tuple[int, ...]:
        return tuple(int(digits) for digits in version.split("."))

    constraints = (lowest.ROOT / "constraints.txt").read_text().splitlines()
    newest = dict(line.split("==") for line in constraints if not line.startswith("#"))
    pins = dict(line.split("==") for line in lowest.pins())
    assert {name for name in pins if name in newest and number(newest[name]) < number(pins[name])} == set()

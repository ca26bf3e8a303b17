"""Accelerators: named in a recipe, applied in its order, told, kept, no part of the identity; their faults are sentences."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from gancore_training.identity import identity, recipe_digest
from gancore_training.trainer import train

import gancore
from gancore import GancoreError
from gancore.plan.load import make_plan
from gancore.recipe.layers import merge
from gancore.recipe.recipe import Recipe, check_table
from gancore.registry import Registry
from plugins.training.tests.test_trainer import Watcher
from tests.hosts import CPU, GAME, registry, same

HERE = __name__
CALLS: list[str] = []
NAMES = ("outer", "inner", "late", "choosing", "rude", "refusing", "nothing")


@gancore.hookimpl
def gancore_accelerators() -> Iterator[gancore.Component]:
    for name in NAMES:
        yield gancore.Component(name, f"{HERE}:{name}", "For a test")
    yield gancore.Component("constant", f"{HERE}:CALLS", "No function")


def _noting(name: str, run: gancore.Run, step: Callable[[], None], tell: Callable[[str], None]) -> Callable[[], None]:
    def noted() -> None:
        CALLS.append(f"{name} {run.iteration}")
        step()

    tell("on")
    return noted


def outer(run: gancore.Run, step: Callable[[], None], tell: Callable[[str], None]) -> Callable[[], None]:
    return _noting("outer", run, step, tell)


def inner(run: gancore.Run, step: Callable[[], None], tell: Callable[[str], None]) -> Callable[[], None]:
    return _noting("inner", run, step, tell)


def late(run: gancore.Run, step: Callable[[], None], tell: Callable[[str], None]) -> Callable[[], None]:
    def telling() -> None:
        step()
        tell("on" if run.iteration == 1 else f"off: it is iteration {run.iteration}")

    return telling


def rude(run: gancore.Run, step: Callable[[], None], tell: Callable[[str], None]) -> Callable[[], None]:
    raise ValueError("not\ntoday")


def refusing(run: gancore.Run, step: Callable[[], None], tell: Callable[[str], None]) -> Callable[[], None]:
    raise GancoreError("the driver is too old; install a newer one.")


def nothing(run: gancore.Run, step: Callable[[], None], tell: Callable[[str], None]) -> None:
    tell("on")


def plugins() -> Registry:
    return Registry.of(
        {**{plugin.name: sys.modules[plugin.module] for plugin in registry().plugins()}, "fast": sys.modules[HERE]}
    )


def recipe_of(*names: str, **settings: Any) -> Recipe:
    table = {"run": {"iterations": 3, "accelerate": list(names), **settings}}
    return check_table(merge(GAME, table), plugins(), name="test")


def trained(out: Path, *names: str, resume: bool = False, **settings: Any) -> Watcher:
    told = Watcher()
    train(recipe_of(*names, **settings), plugins(), out, device=CPU, resume=resume, progress=told)
    return told


def status_in(out: Path) -> Any:
    return json.loads((out / "environment.json").read_text())["accelerators"]


def test_two_accelerators_are_applied_in_the_recipes_order(tmp_path: Path) -> None:
    CALLS.clear()
    told = trained(tmp_path, "inner", "outer").told
    assert [f"{name} {iteration}" for iteration in range(3) for name in ("outer", "inner")] == CALLS
    assert status_in(tmp_path) == {"fast/inner": "on", "fast/outer": "on"}
    assert [text for text in told if text.startswith("fast/")] == ["fast/inner is on", "fast/outer is on"]


def test_an_accelerated_run_is_the_plain_one(tmp_path: Path) -> None:
    runs = [train(recipe_of(*names), plugins(), tmp_path / str(len(names)), device=CPU) for names in ((), ("outer",))]
    assert same(*runs) == []
    assert status_in(tmp_path / "0") == {}


def test_what_it_says_later_is_told_and_kept(tmp_path: Path) -> None:
    told = trained(tmp_path, "late").told
    assert [text for text in told if text.startswith("fast/")] == [
        "fast/late is on",
        "fast/late is off: it is iteration 2",
        "fast/late is off: it is iteration 3",
    ]
    assert status_in(tmp_path) == {"fast/late": "off: it is iteration 3"}


def test_accelerators_are_no_part_of_the_identity_and_named_in_full(tmp_path: Path) -> None:
    assert recipe_digest(recipe_of()) == recipe_digest(recipe_of("outer")) == recipe_digest(recipe_of("outer", "inner"))
    assert identity({}) == identity({"run": {"accelerate": ["outer"]}})
    assert recipe_of("outer").table["run"]["accelerate"] == ["fast/outer"]
    trained(tmp_path, "outer")
    CALLS.clear()
    trained(tmp_path, "inner", resume=True)
    assert CALLS == []
    assert 'accelerate = ["fast/inner"]' in (tmp_path / "recipe.toml").read_text()


def test_what_it_says_at_a_resume_leaves_the_history_whole(tmp_path: Path) -> None:
    trained(tmp_path)
    for accelerators in (("outer",), ("inner",)):
        trained(tmp_path, *accelerators, resume=True)
    history = json.loads((tmp_path / "environment.json").read_text())["history"]
    assert [entry["changed"]["run.accelerate"] for entry in history] == [
        [[], ["fast/outer"]],
        [[], ["fast/inner"]],
    ]


def choosing(run: Any, step: Callable[[], None], tell: Callable[[str], None]) -> Callable[[], None]:
    tell(f"on, with {run.choices.setdefault('fast/choosing', str(len(CALLS)))}")
    return step


def test_what_it_chooses_goes_on_with_the_run_and_is_forgotten_with_its_name(tmp_path: Path) -> None:
    CALLS[:] = ["a"]
    trained(tmp_path, "choosing", iterations=2)
    CALLS[:] = ["a", "b"]
    trained(tmp_path, "choosing", resume=True)
    assert status_in(tmp_path) == {"fast/choosing": "on, with 1"}
    trained(tmp_path, resume=True, iterations=4)
    trained(tmp_path, "choosing", resume=True, iterations=4)
    assert status_in(tmp_path) == {"fast/choosing": "on, with 2"}


def test_it_is_applied_to_the_run_as_it_is_restored(tmp_path: Path) -> None:
    trained(tmp_path, checkpoint_every=1)
    (tmp_path / "checkpoints" / "00000003.safetensors").unlink()
    CALLS.clear()
    trained(tmp_path, "outer", resume=True, checkpoint_every=1)
    assert CALLS == ["outer 2"]


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("rude", "the accelerator fast/rude raised ValueError: not today; take fast/rude out of run.accelerate"),
        ("refusing", "the driver is too old; install a newer one."),
        ("nothing", "the accelerator fast/nothing returns None, which runs no iteration; take fast/nothing out"),
    ],
)
def test_what_fails_gives_a_sentence_and_writes_nothing(name: str, sentence: str, tmp_path: Path) -> None:
    with pytest.raises(GancoreError, match=re.escape(sentence)):
        trained(tmp_path / "run", name)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("names", "sentence"),
    [
        (["outr"], "test: run.accelerate uses the accelerator 'outr', which does not exist (did you mean 'outer'?)"),
        (["warp/drive"], "needs the plugin 'warp', which is not installed"),
        (["hinge"], "is a loss, not an accelerator"),
        ("outer", "run"),
    ],
)
def test_an_unknown_name_is_refused_with_the_recipe(names: Any, sentence: str) -> None:
    with pytest.raises(GancoreError, match=re.escape(sentence)):
        check_table(merge(GAME, {"run": {"accelerate": names}}), plugins(), name="test")


def test_what_is_no_function_is_refused_with_the_plan() -> None:
    with pytest.raises(GancoreError, match=r"declared as an accelerator, but .*:CALLS is not a function"):
        make_plan(recipe_of("constant"), plugins())

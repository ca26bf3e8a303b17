"""Of each kind, what is broken in one way fails the case that asks for it, and what is sound passes where it looks broken."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from gancore_testing.suite import cases_of
from gancore_testing.tested import Remarks

import gancore
import plugins.testing.tests.broken as broken
from gancore.registry import Registry
from gancore.tools import KINDS
from tests.hosts import installed

ENCODER: dict[str, Any] = {
    "networks": {"encoder": {"use": "broken/encoder"}},
    "losses": {"encoding": {"use": "broken/encoding"}},
}
PLAYERS = ["discriminator", "generator", "encoder"]
BESIDE: dict[str, Any] = {
    "rotation": {"heads": {"rotation": {"use": "broken/turned"}}},
    "encoding": {"networks": ENCODER["networks"], "loop": {"players": PLAYERS}},
    "encoder-loop": ENCODER,
    "encoder": {**ENCODER, "loop": {"players": PLAYERS}},
}
ONCE = "its files are gone"


@pytest.fixture(scope="module")
def cases() -> Iterator[dict[str, Callable[[], None]]]:
    """The cases of the broken plugin by their titles."""
    assert sys.modules[broken.__name__] is broken
    with installed(Registry.of({"broken": broken})):
        yield dict(cases_of("broken", Remarks(beside=BESIDE, elsewhere={"missing": ONCE})))


TRAINS = "trains at batch 7 in float32"
SMALL = "trains at batch 1 in float32"
HALF = "trains at batch 7 in bfloat16"
RESUMES = "resumes bit-exactly"
KEPT = "keeps its state where a checkpoint finds it"
TOGETHER = "two processes compute what one does"
ROWS = "its rows do not depend on each other"
DEFENDS = "defends a classifier"
SCORES = "scores a run and leaves it as it was"

BROKEN = [
    ("peeking", ROWS, "declare batch_statistics = True"),
    ("averaging", SMALL, "not finite|degrees of freedom"),
    ("narrow", "gives a row for each image", r"shape \(6, 3\), not \(6, 4\)"),
    ("counting", RESUMES, "differ from 4"),
    ("beyond", "chooses what there is", r"the places \[40\] of 40"),
    ("fickle", "chooses what there is", "others for the same seed"),
    ("negative", "chooses what there is", "no frequency"),
    ("fading", RESUMES, "differ from 4"),
    ("apart", TOGETHER, "differ in"),
    ("waiting", SMALL, "not finite|degrees of freedom"),
    ("global-latent", "draws from its noise alone", "torch's own random stream"),
    ("wide-latent", "draws from its noise alone", r"shape \(7, 5\), not \(7, 4\)"),
    ("in-place", "fools a classifier", "in place|other images"),
    ("restless", "fools a classifier", "for the same noise"),
    ("narrow-attack", "fools a classifier", r"not \(7, 1, 8, 8\)"),
    ("cropping", DEFENDS, r"the shape \(7, 1, 7, 7\)"),
    ("glaring", DEFENDS, r"not in \[-1, 1\]"),
    ("blocking", DEFENDS, "passes no gradient"),
    ("counting", KEPT, "head.tested changes calls .* forget"),
    ("counting-descent", KEPT, "changes .*steps"),
    ("dicing", RESUMES, "differ from 4|forget"),
    ("bright", "gives what its base class says", r"outside of \[-1, 1\]"),
    ("comparing", "in evaluation its rows do not depend on each other", "depends on the others"),
    ("peeking-discriminator", "in training its rows do not depend on each other", "declare batch_statistics = True"),
    ("mislabeled", "gives what its base class says", r"shape \(6, 8\), not \(6, 9\)"),
    ("float-only", HALF, "not finite"),
    ("picky", TRAINS, "none of the images that the host offers .it is for images of 7 pixels"),
    ("surprising", "gives what its info says", "another each time"),
    ("gray", "gives what its info says", r"images of shape \(40, 1, 8, 8\)"),
    ("unnamed", "gives what its info says", "names 1 of 4 classes"),
    ("piling", SCORES, "reset forgets too little"),
    ("batchwise", "its scores do not depend on the batches", "in other batches"),
    ("meddling", SCORES, "scoring changes .*classifier"),
    ("endless", SCORES, "score is inf"),
    ("misread", "keeps its real statistics in a file", "from a file"),
    ("counting-descent", RESUMES, "differ from 4|remembers"),
    ("noisy-descent", TOGETHER, "differ in"),
    ("remembering", "is a function of the iteration", "in another order"),
    ("dividing", "is a function of the iteration", "it gives .*nan"),
    ("skipping", "computes what is computed without it", "its counters are|others of"),
    ("silent", "computes what is computed without it", "it tells nothing"),
    ("stray", "writes images", r"it leaves \['1.txt'"),
    ("eager", "takes a command line", "it returns str, which yields no lines"),
    ("helpless", "shows its help", "--help ends with status 1"),
]


@pytest.mark.parametrize(("name", "title", "reason"), BROKEN, ids=[f"{name}: {title}" for name, title, _ in BROKEN])
def test_what_is_broken_fails(cases: dict[str, Callable[[], None]], name: str, title: str, reason: str) -> None:
    with pytest.raises((Exception, pytest.fail.Exception), match=reason):
        cases[f"{name}: {title}"]()


def test_an_observer_that_raises_fails(cases: dict[str, Callable[[], None]]) -> None:
    with pytest.raises(KeyError, match="discriminator/adversarial"):
        cases["observes a training"]()


def test_each_kind_has_a_broken_one() -> None:
    kinds = {kind for kind, declared in Registry.of({"broken": broken}).plugins()[0].components.items() if declared}
    # Of a function nothing is asked but that it can be called.
    assert {*KINDS} - kinds == {"function"}


SOUND = [
    *[("rotation", title) for title in (TRAINS, HALF, RESUMES, TOGETHER, "gradients stay with the player")],
    *[("encoding", title) for title in (TRAINS, SMALL, RESUMES, TOGETHER)],
    *[("encoder-loop", title) for title in (TRAINS, SMALL, HALF, RESUMES, TOGETHER)],
    *[("encoder", title) for title in (TRAINS, SMALL, HALF, RESUMES, TOGETHER)],
    ("declared", TRAINS),
    ("dropping", "in training its rows do not depend on each other"),
]


@pytest.mark.parametrize(("name", "title"), SOUND, ids=[f"{name}: {title}" for name, title in SOUND])
def test_what_is_sound_passes_with_what_it_needs_beside_it(cases: dict[str, Callable[[], None]], name: str, title: str) -> None:
    cases[f"{name}: {title}"]()


def test_what_declares_batch_statistics_is_not_asked_for_rows(cases: dict[str, Callable[[], None]]) -> None:
    assert "declared: in training its rows do not depend on each other" not in cases
    assert f"averaging: {ROWS}" not in cases


def test_without_its_tables_a_component_has_no_host_and_the_case_says_so() -> None:
    with installed(Registry.of({"broken": broken})):
        bare = dict(cases_of("broken"))
        for name in ("encoder-loop", "encoder"):
            with pytest.raises(pytest.fail.Exception, match=f"broken/{name} has no host: .*beside"):
                bare[f"{name}: {TRAINS}"]()
        with pytest.raises(gancore.GancoreError, match="real_rotation"):
            bare[f"rotation: {TRAINS}"]()
        with pytest.raises(pytest.skip.Exception, match="no such folder"):
            bare["missing: gives what its info says"]()


def test_what_is_tried_elsewhere_says_why(cases: dict[str, Callable[[], None]]) -> None:
    assert "missing: gives what its info says" not in cases
    with pytest.raises(pytest.skip.Exception, match=ONCE):
        cases["missing: is tried elsewhere"]()


def test_remarks_on_what_the_plugin_does_not_declare_fail() -> None:
    wrong: dict[str, Any] = {"peekign": {}}
    with installed(Registry.of({"broken": broken})):
        for what, remarks in (("settings", Remarks(settings=wrong)), ("beside", Remarks(beside=wrong))):
            with pytest.raises(pytest.fail.Exception, match=f"{what} names 'peekign', which broken does not declare"):
                dict(cases_of("broken", remarks))["peekign: is of the plugin"]()
        blank = dict(cases_of("broken", Remarks(elsewhere={"missing": " "})))
        with pytest.raises(pytest.fail.Exception, match="no reason"):
            blank["missing: is tried elsewhere"]()

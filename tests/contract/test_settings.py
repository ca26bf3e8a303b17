"""Settings are read off constructors and checked before anything is built."""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal

import attrs
import pytest

from gancore import GancoreError, Range
from gancore.contract.settings import check, convert, describe, settings_of


class Example:
    def __init__(
        self,
        *,
        classes: int,
        gamma: Annotated[float, Range(0, open_low=True)] = 10.0,
        mode: Literal["hard", "soft"] = "hard",
        betas: tuple[float, float] = (0.5, 0.9),
        sizes: list[Annotated[int, Range(1)]] | None = None,
        flag: bool = False,
    ) -> None:
        self.given = (classes, gamma, mode, betas, sizes, flag)


class NeedsValue:
    def __init__(self, *, ratio: float) -> None: ...


@attrs.frozen(kw_only=True)
class Table:
    size: Annotated[int, Range(1, 8)] = 2


def test_settings_are_the_keyword_only_parameters_in_order() -> None:
    assert list(settings_of(Example)) == ["classes", "gamma", "mode", "betas", "sizes", "flag"]
    assert settings_of(Example)["classes"].required
    assert not settings_of(Example)["sizes"].required


def test_an_attrs_class_gives_its_fields() -> None:
    assert settings_of(Table)["size"].allowed == "a whole number in [1, 8]"


def test_context_fills_what_the_recipe_does_not_set_and_never_overrides_it() -> None:
    assert check(Example, {}, where="here", context={"classes": 7, "channels": 3})["classes"] == 7
    assert check(Example, {"classes": 2}, where="here", context={"classes": 7})["classes"] == 2


def test_numbers_written_without_a_point_are_taken_for_floats_and_keep_their_value() -> None:
    given = check(Example, {"gamma": 3, "betas": [0, 1]}, where="here")
    assert given["gamma"] == 3.0
    assert isinstance(given["gamma"], float)
    assert given["betas"] == (0.0, 1.0)


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"gama": 1.0}, "here has no setting 'gama' (did you mean 'gamma'?)"),
        ({"gamma": "ten"}, "here: gamma must be a number above 0, not 'ten'."),
        ({"gamma": 0}, "here: gamma must be a number above 0, not 0."),
        ({"gamma": True}, "here: gamma must be a number above 0, not True."),
        ({"gamma": math.nan}, "here: gamma must be a number above 0, not nan."),
        ({"gamma": math.inf}, "here: gamma must be a number above 0, not inf."),
        ({"gamma": 1e39}, "here: gamma must be a number above 0, not 1e+39."),
        ({"mode": "sotf"}, "here: mode must be one of 'hard', 'soft', not 'sotf' (did you mean 'soft'?)"),
        ({"mode": 1}, "here: mode must be one of 'hard', 'soft', not 1."),
        ({"betas": [0.5]}, "here: betas must be a list of 2: a number, a number, not [0.5]."),
        ({"sizes": [1, 0]}, "here: sizes must be a list of: a whole number at least 1 or nothing, not [1, 0]."),
        ({"sizes": 3}, "here: sizes must be a list of: a whole number at least 1 or nothing, not 3."),
        ({"flag": 1}, "here: flag must be true or false, not 1."),
        ({"classes": 2.5}, "here: classes must be a whole number, not 2.5."),
        ({"gamma": 10**400}, "here: gamma must be a number above 0, not 1000"),
    ],
)
def test_a_wrong_setting_gets_one_sentence_with_what_is_allowed(given: dict[str, Any], sentence: str) -> None:
    with pytest.raises(GancoreError) as caught:
        check(Example, given, where="here")
    assert str(caught.value).startswith(sentence.rstrip("."))


@pytest.mark.parametrize("number", [math.inf, -math.inf, math.nan, [1.0, math.inf]])
def test_what_is_meant_for_another_component_is_finite_too(number: Any) -> None:
    class Handing:
        def __init__(self, *, settings: dict[str, Any]) -> None: ...

    with pytest.raises(GancoreError, match=r"here: settings\.steps must be finite, not "):
        check(Handing, {"settings": {"steps": number}}, where="here")
    assert check(Handing, {"settings": {"steps": 2, "sees": "bare"}}, where="here") == {
        "settings": {"steps": 2, "sees": "bare"}
    }


def test_a_missing_required_setting_is_named() -> None:
    with pytest.raises(GancoreError, match="here needs the setting 'ratio'"):
        check(NeedsValue, {}, where="here")


def test_a_setting_that_core_supplies_may_be_missing_until_it_is_built() -> None:
    assert "classes" not in check(Example, {}, where="here")
    with pytest.raises(GancoreError, match="'classes'"):
        check(Example, {}, where="here", context={})


def test_a_union_keeps_the_recipes_own_type() -> None:
    assert convert(1, int | float, where="x") == 1
    assert isinstance(convert(1, float | int, where="x"), int)


def test_ranges_say_what_they_hold() -> None:
    assert describe(Annotated[float, Range(0, 1, open_high=True)]) == "a number in [0, 1)"
    assert describe(Annotated[int, Range(high=5)]) == "a whole number at most 5"
    assert Range(0, 1).holds(1.0)
    assert not Range(0, 1, open_high=True).holds(1.0)


def test_a_setting_that_takes_a_name_of_core_for_another_thing_is_refused() -> None:
    """``classes: float`` would silently become the number of classes."""

    def weighted(*, classes: Annotated[float, Range(0)] = 0.5) -> None: ...

    def honest(*, classes: Annotated[int, Range(1)] | None = None, class_counts: list[int]) -> None: ...

    with pytest.raises(GancoreError, match="a name under which gancore supplies 10; its author must rename it"):
        check(weighted, {}, where="x", context={"classes": 10})
    assert check(weighted, {"classes": 0.1}, where="x", context={"classes": 10}) == {"classes": 0.1}
    assert check(honest, {}, where="x", context={"classes": 10, "class_counts": [1]}) == {"classes": 10, "class_counts": [1]}


@pytest.mark.parametrize("value", [10**9, -(10**9), 10**18])
def test_nothing_is_counted_by_the_billion_but_seeds(value: int) -> None:
    class Component:
        def __init__(self, *, count: int = 1, counts: list[int] | None = None, seed: int = 0, rate: float = 0.0) -> None: ...

    for settings in ({"count": value}, {"counts": [1, value]}):
        with pytest.raises(GancoreError, match=r"here: counts? is .*, and nothing is counted beyond 99,999,999"):
            check(Component, settings, where="here")
    assert check(Component, {"seed": value, "rate": value}, where="here") == {"seed": value, "rate": float(value)}


def test_a_long_value_is_not_repeated_whole() -> None:
    class Component:
        def __init__(self, *, count: int = 1) -> None: ...

    for settings in ({"count": "x" * 10_000}, {"x" * 10_000: 1}, {"count": [["y"] * 10_000]}):
        with pytest.raises(GancoreError) as caught:
            check(Component, settings, where="here")
        assert len(str(caught.value)) < 200

"""Files of perturbations: they come back as they were, and nothing else comes back as one."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from gancore_uap.budgets import from_levels, size, to_levels, whole_levels
from gancore_uap.perturbation_files import FORMAT, KIND, Perturbation, random_perturbation
from safetensors.torch import save_file
from torch import Tensor

from gancore import GancoreError
from gancore.files.tensors import write_tensors

EPSILON = 10 / 255
ABOUT = {"victims": ["resnet20"], "recipe": "uap/gap", "seed": 3, "protocol": {"images": 1000}}


def crafted(epsilon: float = EPSILON, norm: Any = "linf", seed: int = 0) -> Perturbation:
    noise = 0.1 * torch.randn(3, 8, 8, generator=torch.Generator().manual_seed(seed))
    return Perturbation(whole_levels(noise, epsilon, norm), epsilon, norm, ABOUT)


# -- files -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_a_perturbation_comes_back_as_it_was(norm: str, tmp_path: Path) -> None:
    one = crafted(norm=norm)
    path = tmp_path / "deep" / "uap.safetensors"
    one.save(path)
    again = Perturbation.load(path)
    assert torch.equal(again.delta, one.delta)
    assert (again.epsilon, again.norm, again.about) == (one.epsilon, norm, ABOUT)
    assert again.digest == one.digest
    assert [file.name for file in path.parent.iterdir()] == ["uap.safetensors"]


def test_a_perturbation_is_a_copy() -> None:
    delta = from_levels(torch.full((1, 2, 2), 5)).requires_grad_()
    one = Perturbation(delta, EPSILON, "linf")
    with torch.no_grad():
        delta.zero_()
    assert (to_levels(one.delta) == 5).all()
    assert not one.delta.requires_grad
    assert one.about == {}


def test_the_digest_changes_when_the_content_does() -> None:
    one = crafted()
    assert len(one.digest) == 12
    assert set(one.digest) <= set("0123456789abcdef")
    assert crafted().digest == one.digest
    changed = one.delta.clone()
    changed[0, 0, 0] = 0 if changed[0, 0, 0] else 1 / 255
    others = [
        Perturbation(changed, EPSILON, "linf"),
        Perturbation(one.delta.view(3, 4, 16), EPSILON, "linf"),
        Perturbation(one.delta, 11 / 255, "linf"),
        Perturbation(one.delta, EPSILON, "l2"),
    ]
    assert len({one.digest, *(other.digest for other in others)}) == 5
    assert Perturbation(one.delta, EPSILON, "linf", {"another": "origin"}).digest == one.digest


def written(path: Path, tensors: dict[str, Tensor] | None = None, **changes: Any) -> Path:
    header = {"kind": KIND, "format": FORMAT, "epsilon": EPSILON, "norm": "linf", "about": {}, **changes}
    content = {"delta": torch.zeros(3, 4, 4)} if tensors is None else tensors
    write_tensors(path, content, {key: value for key, value in header.items() if value is not None})
    return path


def test_what_the_tests_write_can_be_read(tmp_path: Path) -> None:
    assert Perturbation.load(written(tmp_path / "uap")).delta.shape == (3, 4, 4)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(GancoreError, match=r"there is no perturbation .*uap; check the path"):
        Perturbation.load(tmp_path / "uap")
    with pytest.raises(GancoreError, match="there is no perturbation"):
        Perturbation.load(tmp_path)


def test_a_damaged_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "uap"
    crafted().save(path)
    content = path.read_bytes()
    for damaged in (b"", b"text", content[:-7], content[100:]):
        path.write_bytes(damaged)
        with pytest.raises(GancoreError, match=r"uap is damaged or no safetensors file; take another copy"):
            Perturbation.load(path)


@pytest.mark.parametrize("kind", [None, "checkpoint"])
def test_other_files_of_tensors_are_refused(kind: str | None, tmp_path: Path) -> None:
    with pytest.raises(GancoreError, match=r"other holds no universal perturbation; name a file that `gancore uap` wrote"):
        Perturbation.load(written(tmp_path / "other", kind=kind))


def test_a_header_of_another_shape_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "uap"
    save_file({"delta": torch.zeros(3, 4, 4)}, path, metadata={"gancore": '["uap"]'})
    with pytest.raises(GancoreError, match="is damaged or no safetensors file"):
        Perturbation.load(path)


@pytest.mark.parametrize("number", [None, 0, 2, "1"])
def test_another_format_is_refused(number: Any, tmp_path: Path) -> None:
    with pytest.raises(GancoreError, match=r"this version reads format 1; install the version"):
        Perturbation.load(written(tmp_path / "uap", format=number))


@pytest.mark.parametrize(
    "changes",
    [{"epsilon": None}, {"epsilon": "10/255"}, {"epsilon": True}, {"norm": None}, {"norm": 2}, {"about": None}, {"about": []}],
    ids=str,
)
def test_a_file_that_lacks_something_is_refused(changes: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(GancoreError, match="lacks the perturbation, its budget or its origin"):
        Perturbation.load(written(tmp_path / "uap", **changes))


def test_a_file_without_the_perturbation_is_refused(tmp_path: Path) -> None:
    with pytest.raises(GancoreError, match="lacks the perturbation"):
        Perturbation.load(written(tmp_path / "uap", {"weight": torch.zeros(3, 4, 4)}))


@pytest.mark.parametrize(
    ("delta", "changes", "message"),
    [
        (torch.full((3, 4, 4), 11 / 255), {}, r"uap: the perturbation leaves its own linf budget of 10/255; round it"),
        (torch.full((3, 4, 4), 11 / 255), {"norm": "l2"}, "leaves its own l2 budget of 10/255"),
        (torch.full((3, 4, 4), math.nan), {}, "uap: the perturbation is not finite everywhere"),
        (torch.full((3, 4, 4), math.inf), {}, "not finite everywhere"),
        (torch.full((3, 4, 4), 0.5 / 255), {}, "not in whole levels of 1/255"),
        (torch.zeros(1, 3, 4, 4), {}, r"has the shape \(1, 3, 4, 4\) in place of \(C, H, W\)"),
        (torch.zeros(3, 0, 4), {}, "in place of"),
        (torch.zeros(3, 4, 4), {"norm": "l1"}, "there is no norm 'l1'"),
        (torch.zeros(3, 4, 4), {"epsilon": 10}, "epsilon = 10 is no budget"),
        (torch.zeros(3, 4, 4), {"epsilon": 0.001}, "below 1/255"),
    ],
    ids=lambda value: "" if isinstance(value, Tensor) else str(value)[:20],
)
def test_a_perturbation_that_can_t_be_one_is_refused(
    delta: Tensor, changes: dict[str, Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises(GancoreError, match=message):
        Perturbation.load(written(tmp_path / "uap", {"delta": delta}, **changes))


def test_a_folder_that_can_t_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(GancoreError, match="can't be written"):
        crafted().save(tmp_path / "file" / "uap")


# -- other budgets -----------------------------------------------------------------------------------------------------


def test_a_perturbation_scales_in_proportion_and_toward_zero() -> None:
    levels = torch.arange(-10, 11).view(1, 1, -1)
    one = Perturbation(from_levels(levels), EPSILON, "linf", ABOUT)
    half = one.scaled(5 / 255)
    assert to_levels(half.delta).flatten().tolist() == [int(k / 2) for k in range(-10, 11)]
    twice = one.scaled(20 / 255)
    assert torch.equal(to_levels(twice.delta), (2 * levels).to(torch.int16))
    assert (half.epsilon, half.norm) == (5 / 255, "linf")
    assert half.about == {**ABOUT, "scaled_from": {"digest": one.digest, "epsilon": EPSILON}}
    assert one.about == ABOUT
    assert one.scaled(EPSILON).digest == one.digest


def test_every_budget_of_whole_levels_scales_signs_exactly() -> None:
    one = random_perturbation((1, 4, 4), EPSILON, "linf", 0)
    for k in range(1, 256):
        assert torch.equal(to_levels(one.scaled(k / 255).delta), to_levels(one.delta) // 10 * k)


def test_scaling_to_no_budget_is_refused() -> None:
    with pytest.raises(GancoreError, match="scaling the perturbation: epsilon = 0 is no budget"):
        crafted().scaled(0.0)
    with pytest.raises(GancoreError, match="below 1/255"):
        crafted().scaled(0.001)


# -- noise -------------------------------------------------------------------------------------------------------------


def test_signs_are_the_edges_of_the_budget_equally_often() -> None:
    one = random_perturbation((3, 64, 64), EPSILON, "linf", 0)
    levels, counts = to_levels(one.delta).unique(return_counts=True)
    assert levels.tolist() == [-10, 10]
    # Five standard deviations.
    assert abs(int(counts[0]) - 6144) < 5 * 55.4
    assert one.about == {"recipe": "random", "kind": "sign", "seed": 0}


def test_uniform_noise_takes_each_whole_level_equally_often() -> None:
    one = random_perturbation((3, 64, 64), EPSILON, "linf", 0, "uniform")
    levels, counts = to_levels(one.delta).unique(return_counts=True)
    assert levels.tolist() == list(range(-10, 11))
    # Expected 585 with a standard deviation of 23.6.
    assert (counts - 12288 / 21).abs().max() < 5 * 23.6


@pytest.mark.parametrize("epsilon", [0.5 / 255, 1 / 255, 10 / 255, 0.2])
def test_normal_noise_uses_all_of_an_l2_budget(epsilon: float) -> None:
    one = random_perturbation((3, 64, 64), epsilon, "l2", 0)
    # Within the budget, which the class checks, and near its edge: one value up by a level would nearly leave it.
    assert size(one.delta, "l2").item() == pytest.approx(epsilon, rel=1e-3)
    assert abs(one.delta.mean().item()) < 5 * epsilon / math.sqrt(12288)


def test_noise_is_a_function_of_its_arguments_and_leaves_the_random_state_alone() -> None:
    state = torch.get_rng_state()
    for norm, kind in (("linf", "sign"), ("linf", "uniform"), ("l2", "normal")):
        first, second, third = (random_perturbation((3, 8, 8), EPSILON, norm, seed, kind).digest for seed in (1, 1, 2))  # type: ignore[arg-type]
        assert first == second != third
    assert torch.equal(torch.get_rng_state(), state)


def test_noise_of_another_norm_s_kind_is_refused() -> None:
    with pytest.raises(GancoreError, match="kind 'normal' has no linf budget of its own; choose sign or uniform"):
        random_perturbation((1, 2, 2), EPSILON, "linf", 0, "normal")
    with pytest.raises(GancoreError, match="choose normal"):
        random_perturbation((1, 2, 2), EPSILON, "l2", 0, "sign")
    with pytest.raises(GancoreError, match="a random perturbation: epsilon = 2 is no budget"):
        random_perturbation((1, 2, 2), 2.0, "linf", 0)

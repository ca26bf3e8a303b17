"""Behind each promise of SECURITY.md stand tests that exist, and those of what no other module tests are here."""

from __future__ import annotations

import ast
import re
from collections.abc import Sequence
from pathlib import Path

import pytest
from click.testing import CliRunner

from gancore.cli import main as cli
from plugins.training.tests.test_bad_input import RECIPE
from tests.compose.hosts import installed, registry

ROOT = Path(__file__).resolve().parents[2]

STANDARD = "plugins/standard/tests"

BEHIND: dict[str, Sequence[str]] = {
    "Weights and states are safetensors": [
        "tests/files/test_tensors.py::test_every_flipped_bit_is_refused_or_changes_nothing",
        "tests/files/test_tensors.py::test_content_that_was_exchanged_under_a_digest_is_refused",
        "plugins/training/tests/test_checkpoints.py::test_a_checkpoint_that_no_run_wrote_is_refused_with_the_one_to_go_back_to",
    ],
    "No recipe, run folder or weights file makes gancore unpickle": [
        "tests/files/test_tensors_of_others.py::test_a_file_of_torch_save_is_told_how_to_convert_it",
        "tests/compose/test_fuzz.py::test_mutated_inputs_end_well_or_by_one_short_sentence",
    ],
    "`gancore convert` reads": [
        f"{STANDARD}/test_conversion.py::test_code_in_a_file_is_not_run",
        f"{STANDARD}/test_conversion.py::test_a_whole_network_is_not_unpickled",
    ],
    "Weights of torchvision and of Inception": [
        "plugins/uap/tests/test_torchvision_victims.py::test_what_lies_in_torchs_cache_runs_no_code",
        f"{STANDARD}/test_metrics.py::test_a_weights_file_that_runs_code_is_refused_before_it_runs",
        f"{STANDARD}/test_metrics.py::test_without_a_path_the_weights_are_downloaded_once_and_their_hash_is_checked",
    ],
    "A recipe names components": ["tests/compose/test_security.py::test_a_recipe_names_no_module_and_no_command"],
    "A file in the current folder": ["tests/recipe/test_recipe.py::test_a_file_takes_no_installed_recipes_name"],
    "Pictures start no program": [
        f"{STANDARD}/test_decoding.py::test_postscript_starts_no_program",
        f"{STANDARD}/test_decoding.py::test_formats_that_are_not_meant_are_not_opened",
    ],
    "Bombs, pipes, devices": [
        f"{STANDARD}/test_decoding.py::test_bombs_and_damaged_pixels_are_refused_in_a_sentence",
        f"{STANDARD}/test_decoding.py::test_a_pipe_a_device_and_a_huge_file_are_refused_unread",
        f"{STANDARD}/test_conversion.py::test_an_archive_that_unpacks_to_far_more_than_its_size_is_not_unpacked",
        "tests/files/test_tensors_of_others.py::test_a_header_that_claims_more_than_there_is_is_refused",
        "tests/files/test_paths.py::test_a_recipe_that_is_no_file_is_not_opened",
        "tests/files/test_paths.py::test_what_has_no_end_is_refused",
    ],
    "Links in a run folder": [
        "plugins/training/tests/test_stopping.py::test_links_in_a_runs_folder_are_not_followed",
        "plugins/report/tests/test_report.py::test_links_in_a_runs_folder_are_not_followed",
        "plugins/training/tests/test_lock.py::test_a_lock_that_is_a_link_is_not_followed",
    ],
    "A writer's temporary name": [
        "tests/files/test_atomic.py::test_nobody_can_foresee_the_temporary_name_and_links_are_not_followed"
    ],
    "No recipe says where": [
        f"{STANDARD}/test_datasets.py::test_no_recipe_says_where_prepared_images_are_written",
        f"{STANDARD}/test_datasets.py::test_no_recipe_says_where_downloads_are_written",
    ],
    "Control characters": [
        "tests/compose/test_security.py::test_a_recipes_texts_reach_the_terminal_as_text",
        "tests/cli/test_printed_commands.py::test_what_is_printed_is_text_alone",
        "tests/registry/test_isolation.py::test_a_plugins_texts_reach_nobody_with_what_a_terminal_obeys",
        "plugins/report/tests/test_tables.py::test_what_a_terminal_would_obey_is_shown_instead",
    ],
    "Names in a report or in a table of Markdown": [
        "plugins/report/tests/test_report.py::test_nothing_in_a_run_becomes_markup",
        "plugins/report/tests/test_tables.py::test_no_name_is_markup_in_a_markdown_table",
    ],
    "A report is one page": ["plugins/report/tests/test_report.py::test_the_page_is_one_file_that_loads_nothing"],
    "A plugin whose import": [
        "tests/registry/test_registry.py::test_a_plugin_is_isolated_whatever_its_import_raises",
        "tests/registry/test_isolation.py::test_what_does_not_end_is_ended",
    ],
    "A broken or hostile input": ["tests/compose/test_fuzz.py::test_mutated_inputs_end_well_or_by_one_short_sentence"],
    "What lay in a run folder": [
        "plugins/training/tests/test_bad_input.py::test_a_folder_that_holds_a_run_is_never_overwritten",
        "plugins/training/tests/test_bad_input.py::test_a_bad_checkpoint_is_named_and_nothing_is_lost",
    ],
}
"""How each promise begins -> the tests behind it."""


def promises() -> list[str]:
    text = (ROOT / "SECURITY.md").read_text()
    promised = text.split("## What gancore promises")[1].split("\n## ")[0]
    return [" ".join(item.split()) for item in re.findall(r"^- (.*(?:\n  .*)*)", promised, re.MULTILINE)]


def test_each_promise_has_tests_and_each_entry_a_promise() -> None:
    behind = {promise: [start for start in BEHIND if promise.startswith(start)] for promise in promises()}
    assert {promise: starts for promise, starts in behind.items() if len(starts) != 1} == {}
    assert sorted(start for starts in behind.values() for start in starts) == sorted(BEHIND)
    # One sentence a promise, so that none hides behind the tests of another.
    assert [promise for promise in behind if promise.count(". ") or not promise.endswith(".")] == []


@pytest.mark.parametrize("node", sorted({node for nodes in BEHIND.values() for node in nodes}))
def test_the_tests_behind_a_promise_exist(node: str) -> None:
    file, name = node.split("::")
    tree = ast.parse((ROOT / file).read_text())
    assert name in {each.name for each in tree.body if isinstance(each, ast.FunctionDef)}


def said(*words: str) -> tuple[int, str]:
    with installed(registry()):
        done = CliRunner().invoke(cli.main, words)
    return done.exit_code, done.output


EVIL = r"\u001b[2J\u001b]0;title\u0007\u009b31m\u202e<script>alert(1)</script>"


@pytest.mark.parametrize("command", ["show", "explain", "train"])
@pytest.mark.parametrize("where", ["texts", "label"])
def test_a_recipes_texts_reach_the_terminal_as_text(
    command: str, where: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    texts = f'summary = "{EVIL}"\ncite = ["{EVIL}"]\n'
    more = f'[losses."{EVIL}"]\nuse = "{EVIL}"\n'
    (tmp_path / "evil.toml").write_text(texts + RECIPE if where == "texts" else RECIPE + more)
    status, output = said(command, "./evil.toml")
    assert status == (2 if where == "label" and command != "show" else 0), output
    assert {letter for letter in output if not letter.isprintable()} <= {"\n", "\r"}
    assert output.strip()


@pytest.mark.parametrize("use", ["os:system", "os.system", "../evil", "tests.probe.parts:TinyGenerator", "__import__('os')"])
def test_a_recipe_names_no_module_and_no_command(use: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "evil.toml").write_text(RECIPE.replace("probe/tiny-generator", use))
    status, output = said("train", "./evil.toml", "--out", "run")
    assert status == 2, output
    assert output.startswith("Error: ")
    assert not (tmp_path / "run").exists()

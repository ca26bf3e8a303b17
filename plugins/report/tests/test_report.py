"""The report: what it shows, what it keeps apart, and what it survives."""

from __future__ import annotations

import base64
import csv
import hashlib
import itertools
import json
import math
import re
import subprocess
import sys
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from click.testing import CliRunner
from gancore_report import commands
from gancore_report.axes import bar_axis, labels, log_ticks, ticks
from gancore_report.charts import bar_chart, line_chart
from gancore_report.curves import Curve
from gancore_report.formats import duration, full, percent, short
from gancore_report.page import write_report
from gancore_report.paths import beside
from gancore_report.reading import RunData, read_run
from gancore_report.scores import Column, Row, ScoredRun, ScoreTable
from gancore_report.scoring import changes
from gancore_report.tiles import by_class, read_grid
from PIL import Image

from gancore import GancoreError

MakeRun = Callable[..., Path]

RECIPE = """\
summary = "Balanced <digits>"

[run]
iterations = 400
batch_size = 64
seed = 7

[data]
use = "standard/digits"

[losses.balance]
use = "cbgan/class-balance"
weight = {weight}
"""


def score_line(iteration: int, fid: float, protocol: str = "aaaa1111", **scores: Any) -> dict[str, Any]:
    return {
        "iteration": iteration,
        "scores": {"fid/fid": fid, **scores},
        "protocols": {
            "fid": {"id": protocol, "samples": {"aaaa1111": 2000}.get(protocol, 5000), "split": "test"},
            "histogram": {"id": "cccc3333", "samples": 2000},
        },
        "better": {"fid/fid": "lower"},
        "seconds": 1.5,
    }


@pytest.fixture
def make_run(tmp_path: Path) -> MakeRun:
    def make(
        folder: str = "one",
        *,
        name: str = "cbgan/digits-lt",
        weight: float = 2.0,
        scores: list[dict[str, Any]] | None = None,
        **environment: Any,
    ) -> Path:
        path = tmp_path / folder
        (path / "samples").mkdir(parents=True)
        (path / "recipe.toml").write_text(RECIPE.format(weight=weight))
        known = {
            "recipe_name": name,
            "gancore": "0.1.0",
            "device": "some processor",
            "threads": 2,
            "plugins": {"cbgan": "gancore-plugin-cbgan 0.1.0"},
            "parameters": {"generator": 1234567},
            "class_counts": [60, 30, 10],
            "class_names": ["cat", "dog", "owl"],
        }
        (path / "environment.json").write_text(json.dumps(known | environment))
        log = [
            {
                "iteration": n,
                "seconds": n / 10,
                "images_per_second": 640.0,
                "losses": {"generator/adversarial": 1 / n, "discriminator/adversarial": 0.5},
                "monitors": {"balance/kl": 0.1, "balance/frequency": [0.5, 0.25, 0.25]},
            }
            for n in range(100, 401, 100)
        ]
        (path / "log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in log))
        lines = [score_line(200, 30.0), score_line(400, 20.0)] if scores is None else scores
        (path / "scores.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
        for n in range(50, 401, 50):
            Image.new("RGB", (40, 20), (n % 256, 0, 0)).save(path / "samples" / f"{n:08d}.png")
        return path

    return make


class Page(HTMLParser):
    """Collects tags, visible text, and the rows of tables; notices tags that are left open."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.rows: list[list[str]] = []
        self.words: list[str] = []
        self._open: list[str] = []
        self.feed(html)
        assert self._open == []
        self.text = " ".join(" ".join(self.words).split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in ("meta", "img", "br", "wbr"):
            self._open.append(tag)
        if tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if not {"style", "script"} & set(self._open):
            # A place where a name may be broken is no blank.
            if self.tags and self.tags[-1][0] == "wbr":
                self.words[-1] += data
            else:
                self.words.append(data)
        if {"td", "th"} & set(self._open):
            self.rows[-1][-1] += data


def report(*runs: Path) -> Page:
    path = write_report(runs, runs[0].parent / "report.html")
    return Page(path.read_text(encoding="utf-8"))


def row(page: Page, start: str) -> list[str]:
    (cells,) = [cells for cells in page.rows if cells and cells[0].startswith(start)]
    return cells


def test_the_page_is_one_file_that_loads_nothing(make_run: MakeRun) -> None:
    page = report(path := make_run())
    assert not [tag for tag, _ in page.tags if tag in ("link", "iframe", "object")]
    (code,) = re.findall(r"<script>(.*?)</script>", (path.parent / "report.html").read_text(), re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(code.encode()).digest()).decode()
    sources = [attrs[key] or "" for _, attrs in page.tags for key in ("src", "href") if key in attrs]
    assert sources
    allowed = ("data:image/png;base64,", "data:text/csv;", "data:application/json;", "#")
    assert all(source.startswith(allowed) for source in sources)
    policy = next(attrs["content"] for tag, attrs in page.tags if tag == "meta" and "http-equiv" in attrs)
    assert policy == f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{digest}'"


@pytest.mark.parametrize("words", [["report", "one", "--out", "page.html"], ["compare", "one", "--out", "table.md"]])
def test_looking_at_runs_needs_no_torch(make_run: MakeRun, words: list[str]) -> None:
    path = make_run()
    code = (
        "import sys; from click.testing import CliRunner; from gancore_report import commands; "
        f"done = CliRunner().invoke(commands.{words[0]}, {words[1:]!r}, catch_exceptions=False); "
        "sys.exit(done.exit_code or 'torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False, cwd=path.parent).returncode == 0
    assert (path.parent / words[-1]).is_file()


def test_a_folder_that_holds_runs_stands_for_them_and_holds_the_page(make_run: MakeRun) -> None:
    folder = make_run("all/one").parent
    make_run("all/two", name="standard/plain")
    done = CliRunner().invoke(commands.report, [str(folder)], catch_exceptions=False)
    assert done.output == f"The report is {folder / 'report.html'}\n"
    assert "2 runs: cbgan/digits-lt, standard/plain" in Page((folder / "report.html").read_text()).text


def test_the_table_of_runs_says_what_was_run(make_run: MakeRun) -> None:
    page = report(make_run("one"), make_run("two", name="standard/plain"))
    assert row(page, "Iterations")[1:] == ["400", "400"]
    assert row(page, "Batch size")[1] == "64"
    assert row(page, "Seed")[1] == "7"
    assert row(page, "Parameters")[1] == "generator 1.23M"
    assert row(page, "Images per second")[1] == "640"
    assert row(page, "Time of training")[1] == "40 s"
    assert row(page, "Time of scoring")[1] == "3 s, 6.98 % of the wall clock"
    assert row(page, "Device")[1] == "some processor, 2 threads"
    assert row(page, "Data")[1] == "standard/digits, 100 images in 3 classes, 10 to 60 per class"


def test_a_run_that_was_not_finished_says_how_far_it_came(make_run: MakeRun) -> None:
    path = make_run()
    recipe = path / "recipe.toml"
    recipe.write_text(recipe.read_text().replace("iterations = 400", "iterations = 20000"))
    assert row(report(path), "Iterations")[1] == "400 of 20,000"


def test_runs_of_one_recipe_are_told_apart_by_their_folders(make_run: MakeRun) -> None:
    heads = report(make_run("one"), make_run("two")).rows[0]
    assert heads[1:] == ["A cbgan/digits-lt (one)", "B cbgan/digits-lt (two)"]


def test_the_same_run_named_twice_is_shown_once(make_run: MakeRun) -> None:
    path = make_run()
    assert len(report(path, path / ".." / path.name).rows[0]) == 2


@pytest.mark.parametrize(("better", "best"), [("lower", "20.00"), ("higher", "25.00")])
def test_the_best_final_value_is_marked(make_run: MakeRun, better: str, best: str) -> None:
    scores = [[score_line(200, 1.0), score_line(400, fid)] for fid in (20.0, 25.0)]
    for line in (line for lines in scores for line in lines):
        line["better"]["fid/fid"] = better
    one, two = make_run("one", scores=scores[0]), make_run("two", scores=scores[1])
    html = write_report([one, two], one.parent / "r.html").read_text()
    assert re.findall(r'<td class="best">([\d.]+)', html) == [best]


def test_no_value_is_best_where_there_is_one_run_or_no_direction(make_run: MakeRun) -> None:
    lines = [score_line(400, 20.0)]
    lines[0]["better"] = {}
    one, two = make_run("one"), make_run("two", scores=lines)
    assert 'class="best"' not in write_report([one], one.parent / "r.html").read_text()
    assert 'class="best"' not in write_report([two, make_run("three", scores=lines)], one.parent / "r.html").read_text()


def test_values_of_different_protocols_share_neither_row_nor_chart_nor_best(make_run: MakeRun) -> None:
    other = [score_line(200, 9.0, "bbbb2222"), score_line(400, 8.0, "bbbb2222")]
    page = report(make_run("one"), make_run("two", scores=other))
    rows = [cells for cells in page.rows if cells[0].startswith("fid/fid")]
    assert [cells[0].split("protocol ")[1] for cells in rows] == ["aaaa1111, samples 2000", "bbbb2222, samples 5000"]
    assert [cells[1:] for cells in rows] == [["20.00", ""], ["", "8.000"]]
    assert not [attrs for _, attrs in page.tags if attrs.get("class") == "best"]
    charts = [attrs["aria-label"] for tag, attrs in page.tags if tag == "svg"]
    assert charts[:2] == ["fid/fid (protocol aaaa1111)", "fid/fid (protocol bbbb2222)"]
    assert "can't be compared" in page.text


def test_protocols_of_one_id_that_differ_have_a_row_and_a_chart_each(make_run: MakeRun) -> None:
    other = [score_line(200, 9.0), score_line(400, 8.0)]
    for line in other:
        line["protocols"]["fid"]["samples"] = 7
    page = report(make_run("one"), make_run("two", scores=other))
    rows = [cells for cells in page.rows if cells[0].startswith("fid/fid")]
    assert [cells[0].split("protocol ")[1] for cells in rows] == ["aaaa1111, samples 2000", "aaaa1111, samples 7"]
    charts = [attrs["aria-label"] for tag, attrs in page.tags if tag == "svg"]
    assert charts[:2] == ["fid/fid (protocol aaaa1111)"] * 2


def test_values_without_a_protocol_are_compared_with_nothing(make_run: MakeRun) -> None:
    lines = [{"iteration": 400, "scores": {"fid/fid": 5.0}, "better": {"fid/fid": "lower"}}]
    page = report(make_run("one", scores=lines), make_run("two", scores=lines))
    rows = [cells for cells in page.rows if cells[0].startswith("fid/fid")]
    assert [cells[1:] for cells in rows] == [["5.000", ""], ["", "5.000"]]
    assert not [attrs for _, attrs in page.tags if attrs.get("class") == "best"]


def test_the_protocol_is_shown_with_all_its_settings(make_run: MakeRun) -> None:
    other = [score_line(400, 8.0, "bbbb2222")]
    page = report(make_run("one"), make_run("two", scores=other))
    assert ["", "protocol aaaa1111", "protocol bbbb2222"] in page.rows
    assert ["samples", "2000", "5000"] in page.rows
    assert ["split", "test", "test"] in page.rows


def test_of_a_run_that_was_scored_again_the_newest_value_counts(make_run: MakeRun) -> None:
    page = report(make_run(scores=[score_line(400, 20.0), score_line(400, 19.0)]))
    assert row(page, "fid/fid")[1] == "19.00"


def test_a_score_that_once_was_better_says_when(make_run: MakeRun) -> None:
    page = report(make_run(scores=[score_line(200, 12.5), score_line(400, 20.0)]))
    assert row(page, "fid/fid")[1] == "20.00best 12.50 at 200"


def test_histograms_are_shares_against_the_even_share_and_the_training_data(make_run: MakeRun) -> None:
    lines = [score_line(400, 20.0, **{"histogram/histogram": [20, 20, 40]})]
    html = write_report([path := make_run(scores=lines)], path.parent / "r.html").read_text()
    tips = re.findall(r"<title>([^<]*training data[^<]*)</title>", html)
    assert tips == [
        "0 cat: 25 % (training data 60 %)",
        "1 dog: 25 % (training data 30 %)",
        "2 owl: 50 % (training data 10 %)",
    ]
    assert html.count('class="level"') == 1


def test_histograms_of_several_runs_have_the_same_axis(make_run: MakeRun) -> None:
    even, skewed = ([score_line(400, 20.0, **{"histogram/histogram": h})] for h in ([1, 1, 1], [98, 1, 1]))
    one = make_run("one", scores=even, class_counts=[])
    html = write_report([one, make_run("two", scores=skewed, class_counts=[])], one.parent / "r.html").read_text()
    bars = [svg for svg in re.findall(r"<svg[^>]*>.*?</svg>", html) if 'class="level"' in svg]
    heights = [pair for svg in bars for pair in re.findall(r'height="([\d.]+)" fill="var\(--run(\d)\)"', svg)]
    # The tallest bar has the whole height, and a third of the images a third of it, whichever run they are of.
    of_run = {run: [float(height) for height, own in heights if own == run] for run in "01"}
    assert of_run["0"] == pytest.approx([of_run["1"][0] / 0.98 / 3] * 3, abs=0.11)
    assert of_run["1"][0] == max(of_run["1"]) > 50


def test_training_shares_of_another_number_of_classes_are_left_out(make_run: MakeRun) -> None:
    lines = [score_line(400, 20.0, **{"histogram/histogram": [20, 20, 40, 1]})]
    page = report(make_run(scores=lines))
    assert not [attrs for _, attrs in page.tags if attrs.get("class") == "marker"]


def test_the_last_samples_and_at_most_six_of_the_past_are_shown(make_run: MakeRun) -> None:
    page = report(make_run())
    shown = [attrs["alt"] or "" for tag, attrs in page.tags if tag == "img"]
    assert [text for text in shown if " at " not in text] == ["samples of cbgan/digits-lt"]
    assert [text.split(" at ")[1] for text in shown if " at " in text] == ["400", "350", "250", "200", "100", "50"]
    assert "cat, dog, owl, and from the first again" in page.text


def test_losses_and_monitors_are_drawn(make_run: MakeRun) -> None:
    page = report(make_run())
    charts = [attrs["aria-label"] for tag, attrs in page.tags if tag == "svg"]
    assert "generator/adversarial" in charts
    assert "discriminator/adversarial" not in charts
    assert "1 that never changes discriminator/adversarial: 0.5000" in page.text
    assert "balance/kl: 0.1000" in page.text
    assert "balance/frequency" in page.text


def test_recipes_are_shown_and_their_differences(make_run: MakeRun) -> None:
    page = report(make_run("one"), make_run("two", weight=0.5))
    heads = [place for place, cells in enumerate(page.rows) if cells[0] == "" and len(cells) == 3]
    assert page.rows[heads[-1] + 1 :] == [["losses.balance.weight", "2.0", "0.5"]]
    assert page.text.count('use = "cbgan/class-balance"') == 2


def test_equal_recipes_are_said_to_be_so(make_run: MakeRun) -> None:
    assert "The recipes are the same." in report(make_run("one"), make_run("two")).text


EVIL = """'"><script>alert(1)</script><img src=x onerror=alert(1)>&amp;{{ 7 * 7 }}{% raw %}\ud800"""


def hostile_run(make_run: MakeRun, folder: str, weight: float) -> Path:
    """Return a run that holds markup, and what a template would obey, wherever it can hold a text."""
    scores = {"histogram/histogram": [1, 2, 3], f"{EVIL}/x": weight, f"{EVIL}/list": [weight, 1.0]}
    lines = [score_line(200, 1.0, EVIL), score_line(400, weight, EVIL + folder, **scores)]
    for line in lines:
        line["protocols"]["fid"] |= {EVIL: EVIL + folder, "nested": {EVIL: [EVIL, folder]}}
        line["better"][f"{EVIL}/x"] = EVIL
    hostile = {"class_names": [EVIL] * 3, "device": EVIL, "plugins": {EVIL: EVIL}, "parameters": {EVIL: 1}, "recipes": [EVIL]}
    path = make_run(folder, name=EVIL, scores=lines, **hostile, threads=EVIL, precision=EVIL, torch=EVIL, python=[EVIL])
    with (path / "log.jsonl").open("a") as log:
        for n in (501, 502):
            monitors = {EVIL: 1.0, f"{EVIL}/list": [1.0], f"{EVIL}/never": math.nan}
            log.write(json.dumps({"iteration": n, "losses": {f"{EVIL}/{EVIL}": 1.0}, "monitors": monitors}) + "\n")
    protocol = {"id": EVIL, "attack": EVIL, "settings": {EVIL: EVIL}, "split": EVIL}
    attack = {"iteration": 400, "natural": 0.9, "accuracy": {"0.1": 0.5}, "protocol": protocol}
    (path / "attacks.jsonl").write_text(json.dumps(attack) + "\n")
    quoted = json.dumps(EVIL[:-1])
    settings = f"[run]\nseed = {quoted}\nbatch_size = {quoted}\n[data]\nuse = {quoted}\n[{quoted}]\n{quoted} = {weight}\n"
    (path / "recipe.toml").write_text(f"summary = {quoted}\n{settings}")
    last = path / "samples" / "00000400.png"
    last.write_bytes(last.read_bytes()[:-30])
    return path


@pytest.mark.parametrize("folders", [["one"], ["one", "two"]])
def test_nothing_in_a_run_becomes_markup(make_run: MakeRun, folders: list[str]) -> None:
    page = report(*(hostile_run(make_run, folder, weight) for weight, folder in enumerate(folders, 2)))
    assert {tag for tag, _ in page.tags}.isdisjoint({"iframe", "object"})
    assert [attrs for tag, attrs in page.tags if tag == "script"] == [{}]
    assert not [name for _, attrs in page.tags for name in attrs if name.startswith("on")]
    assert all((attrs["src"] or "").startswith("data:image/png;base64,") for tag, attrs in page.tags if tag == "img")
    shown = EVIL[:-1]
    # Title, summary, tables, charts, captions, folded recipes and protocols: each shows the very text.
    assert page.text.count(shown) > 50
    labels = [attrs["aria-label"] or "" for tag, attrs in page.tags if tag == "svg"]
    assert sum(shown in label for label in labels) > 2
    assert sum(shown in (attrs["alt"] or "") for tag, attrs in page.tags if tag == "img") > 2
    assert "00000400.png is damaged" in page.text


def test_robust_accuracies_of_one_shared_network_are_told(make_run: MakeRun) -> None:
    paths = [make_run(name) for name in ("one", "two", "other")]
    for path, weights in zip(paths, ("aaaa", "aaaa", "bbbb"), strict=True):
        protocol = {"id": "cccc3333", "attack": "pgd", "weights": weights}
        attack = {"iteration": 400, "natural": 0.9, "accuracy": {"0.1": 0.5}, "protocol": protocol}
        (path / "attacks.jsonl").write_text(json.dumps(attack) + "\n")
    shared = "one and the same network was attacked"
    assert report(*paths).text.count(shared) == 1
    assert shared not in report(*paths[1:]).text


def test_runs_of_one_recipe_are_averaged_over_their_seeds_and_shown_one_by_one(make_run: MakeRun) -> None:
    runs = [make_run(f"run-{seed}", scores=[score_line(400, 20.0 + 2 * seed)]) for seed in (0, 1)]
    (runs[1] / "recipe.toml").write_text(RECIPE.format(weight=2.0).replace("seed = 7", "seed = 8"))
    page = report(*runs, make_run("other", name="standard/plain", weight=0.0, scores=[score_line(400, 30.0)]))
    averaged, each = [cells for cells in page.rows if cells[0].startswith("fid/fid")]
    assert averaged[1:] == ["21.00 ± 1.41", "30.00▲ 42.9 % worse"]
    assert each[1:] == ["20.00", "22.00▲ 10 % worse", "30.00▲ 50 % worse"]
    heads = [cells for cells in page.rows if cells[0] == "" and len(cells) in (3, 4)]
    assert heads[1][1:] == ["A B cbgan/digits-lt", "C standard/plain"]
    assert ["seeds", "2", "1"] in page.rows
    assert ["seed", "7", "8", "7"] in page.rows


def test_a_line_that_was_cut_off_is_passed_over_and_said(make_run: MakeRun) -> None:
    path = make_run()
    for name in ("log.jsonl", "scores.jsonl"):
        with (path / name).open("a") as file:
            file.write('{"iteration": 500, "sco')
    page = report(path)
    assert row(page, "fid/fid")[1] == "20.00"
    notes = row(page, "Notes")[1]
    assert "The last line of log.jsonl is cut off" in notes
    assert "The last line of scores.jsonl is cut off" in notes


@pytest.mark.parametrize("name", ["recipe.toml", "environment.json", "log.jsonl", "scores.jsonl", "samples"])
def test_any_part_may_be_missing(make_run: MakeRun, name: str) -> None:
    path = make_run()
    (path / name).rename(path / "elsewhere")
    page = report(path)
    assert f"{name} is missing." in row(page, "Notes")[1]


@pytest.mark.parametrize("name", ["recipe.toml", "environment.json", "log.jsonl", "scores.jsonl"])
@pytest.mark.parametrize(
    "content",
    [b"", b"\xff\xfe\x00", b"[[[[", b"[1]\n{}\n", b"[" * 100_000, b"[run]\nseed = 1979-05-27\n"],
    ids=["empty", "no text", "unclosed", "no entries", "nested", "a date"],
)
def test_any_part_may_be_damaged(make_run: MakeRun, name: str, content: bytes) -> None:
    path = make_run()
    (path / name).write_bytes(content)
    page = report(path)
    if content and not (name == "recipe.toml" and content == b"[1]\n{}\n"):
        assert name in row(page, "Notes")[1]


@pytest.mark.parametrize(
    "line",
    [
        '{"iteration": 2, "natural": Infinity, "accuracy": {"0.1": NaN}}',
        '{"iteration": 2, "natural": 1e200, "accuracy": {"1": 0.5}}',
        '{"iteration": 2, "natural": 0.5, "accuracy": {"1": -1}}',
    ],
)
def test_accuracies_that_are_none_are_passed_over(make_run: MakeRun, line: str) -> None:
    path = make_run()
    (path / "attacks.jsonl").write_text(f"{line}\n")
    assert read_run(path).attacks == []
    assert "Robustness" not in report(path).text


def test_a_damaged_picture_is_named_and_the_newest_sound_one_shown(make_run: MakeRun) -> None:
    path = make_run()
    last = path / "samples" / "00000400.png"
    last.write_bytes(last.read_bytes()[:-30])
    page = report(path)
    assert "00000400.png is damaged" in page.text
    assert "cbgan/digits-lt iteration 350" in page.text


def test_a_heavy_picture_is_made_smaller(make_run: MakeRun) -> None:
    path = make_run()
    Image.effect_noise((1600, 800), 90).convert("RGB").save(path / "samples" / "00000400.png")
    sizes = {(attrs["width"], attrs["height"]) for tag, attrs in report(path).tags if "width" in attrs and tag == "img"}
    assert ("1200", "600") in sizes
    assert ("1600", "800") not in sizes


def test_losses_that_are_not_finite_are_counted_not_drawn(make_run: MakeRun) -> None:
    path = make_run()
    with (path / "log.jsonl").open("a") as log:
        log.write('{"iteration": 500, "losses": {"generator/adversarial": NaN, "generator/lost": Infinity}}\n')
        log.write('{"iteration": 600, "losses": {"generator/adversarial": 1e308, "generator/lost": NaN}}\n')
    page = report(path)
    assert "not finite or too large to draw: 2" in page.text
    assert "Never finite, so no curve: generator/lost." in page.text


def test_a_folder_that_holds_no_run_is_refused(tmp_path: Path, make_run: MakeRun) -> None:
    sound = make_run()
    for path in (tmp_path / "nowhere", tmp_path):
        with pytest.raises(GancoreError, match="holds no run; name a folder that `gancore train` wrote"):
            write_report([sound, path], tmp_path / "r.html")
    assert not (tmp_path / "r.html").exists()
    with pytest.raises(GancoreError, match="at least one run"):
        write_report([], tmp_path / "r.html")


def test_a_page_that_cannot_be_written_is_one_sentence(make_run: MakeRun) -> None:
    path = make_run()
    with pytest.raises(GancoreError, match=r"can't be written: .*; choose another --out"):
        write_report([path], path / "recipe.toml" / "r.html")
    with pytest.raises(GancoreError, match=r"can't be written: .*; choose another --out"):
        write_report([path], path / "samples")


def test_the_log_is_read_in_order_of_iterations_and_the_newest_line_counts(make_run: MakeRun) -> None:
    path = make_run()
    with (path / "log.jsonl").open("a") as log:
        log.write('{"iteration": 150, "losses": {"generator/adversarial": 5.0}}\n')
        log.write('{"iteration": 100, "losses": {"generator/adversarial": 4.0}}\n')
    entries = read_run(path).log
    assert [entry.iteration for entry in entries] == [100, 150, 200, 300, 400]
    assert entries[0].losses == {"generator/adversarial": 4.0}


def path_points(svg: str, kind: str = "line") -> list[tuple[float, float]]:
    drawn = next(
        element.get("d", "")
        for element in ElementTree.fromstring(re.search(r"<svg.*</svg>", svg)[0]).iter("path")  # type: ignore[index]
        if element.get("class") == kind
    )
    return [(float(x), float(y)) for x, y in (pair.split() for pair in drawn[1:].split("L"))]


def test_a_straight_line_is_drawn_straight_from_edge_to_edge() -> None:
    svg = line_chart("t", [Curve(0, "a", [(n, 2.0 * n) for n in range(0, 101, 10)])], 100)
    points = path_points(svg)
    (x0, y0), (x1, y1) = points[0], points[-1]
    assert len(points) == 11
    assert x1 > x0
    assert y1 < y0
    for place, (x, y) in enumerate(points):
        assert x == pytest.approx(x0 + (x1 - x0) * place / 10, abs=0.1)
        assert y == pytest.approx(y0 + (y1 - y0) * place / 10, abs=0.1)


def test_a_logarithmic_axis_makes_powers_of_ten_evenly_spaced() -> None:
    svg = line_chart("t", [Curve(0, "a", [(n, 10.0**-n) for n in range(5)])], 4, log=True)
    heights = [y for _, y in path_points(svg)]
    steps = [after - before for before, after in itertools.pairwise(heights)]
    assert steps == pytest.approx([steps[0]] * 4, abs=0.11)
    assert steps[0] > 10
    assert "logarithmic axis" in svg
    assert "logarithmic" not in line_chart("t", [Curve(0, "a", [(0, 1.0), (1, 40.0)])], 1, log=True)
    assert "logarithmic" not in line_chart("t", [Curve(0, "a", [(0, 0.0), (1, 4000.0)])], 1, log=True)


def test_smoothing_takes_the_mean_of_neighbors() -> None:
    # 200 values: a window of five. Of a spike of height 5 the mean of five leaves 1.
    points = [(float(n), 5.0 if n == 100 else 0.0) for n in range(200)]
    svg = line_chart("t", [Curve(0, "a", points)], 200, smooth=True)
    smooth = path_points(svg)
    top, bottom = min(y for _, y in smooth), max(y for _, y in smooth)
    assert sum(y == top for _, y in smooth) == 5
    assert sum(y == bottom for _, y in smooth) == 195
    assert path_points(svg, "faint") != smooth


def test_a_long_curve_is_thinned_out_and_keeps_its_peaks() -> None:
    points = [(float(n), 0.0) for n in range(100_000)]
    points[54_321] = (54_321.0, 1.0)
    drawn = path_points(line_chart("t", [Curve(0, "a", points)], 100_000))
    assert len(drawn) <= 400
    assert len({y for _, y in drawn}) == 2


def test_letters_at_the_ends_of_curves_do_not_overlap() -> None:
    curves = [Curve(run, "r", [(0, 0.0), (10, 10.0 + (run == 0))]) for run in range(5)]
    svg = line_chart("t", curves, 10)
    heights = sorted(float(y) for y in re.findall(r'class="end" data-run="\d" x="[\d.]+" y="([\d.]+)"', svg))
    assert len(heights) == 5
    assert all(after - before >= 11.9 for before, after in itertools.pairwise(heights))
    assert heights[0] > 0
    assert heights[-1] < 228


@pytest.mark.parametrize("values", [[0.0], [5.0], [-3.0], [1e-140], [0.0, 1e140], [-1e140, 1e140], [7.0, 7.0 + 1e-12]])
def test_a_curve_of_any_values_can_be_drawn(values: list[float]) -> None:
    svg = line_chart("t", [Curve(0, "a", list(enumerate(values)))], 1, log=True)
    drawn = [float(y) for y in re.findall(r'cy="([-\d.]+)"', svg)]
    assert drawn
    assert all(0 <= y <= 228 for y in drawn)


def test_bars_are_as_high_as_their_values() -> None:
    values = [0.0, 1.0, -2.0, 4.0]
    svg = bar_chart("t", values, bar_axis(values), run=0)
    heights = [float(h) for h in re.findall(r'height="([\d.]+)" fill="var', svg)]
    assert heights == pytest.approx([0.0, heights[3] / 4, heights[3] / 2, heights[3]], abs=0.11)
    assert heights[3] > 50


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0, 100, [0, 20, 40, 60, 80, 100]),
        (0, 10_000, [0, 2000, 4000, 6000, 8000, 10_000]),
        (-0.13, 0.2, [-0.1, 0.0, 0.1, 0.2]),
        (0.9991, 1.0003, [0.9995, 1.0]),
        (3, 7, [3, 4, 5, 6, 7]),
        (0, 60, [0, 20, 40, 60]),
    ],
)
def test_ticks_are_round_numbers_within_the_axis(low: float, high: float, expected: list[float]) -> None:
    assert ticks(low, high) == pytest.approx(expected)


def test_ticks_of_whole_numbers_are_whole() -> None:
    assert ticks(0, 2, whole=True) == [0, 1, 2]


def test_ticks_of_a_logarithmic_axis_are_round() -> None:
    assert log_ticks(0.08, 6) == pytest.approx([0.1, 0.2, 0.5, 1, 2, 5])
    assert log_ticks(0.5, 2000) == pytest.approx([1, 10, 100, 1000])
    assert len(log_ticks(1e-100, 1e100)) <= 6


@pytest.mark.parametrize("name", ["recipe.toml", "log.jsonl", "scores.jsonl", "samples"])
def test_links_in_a_runs_folder_are_not_followed(make_run: MakeRun, name: str, tmp_path: Path) -> None:
    run = make_run()
    (run / name).rename(tmp_path / "elsewhere")
    (run / name).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(GancoreError, match=f"{name} is a link, and a run's files lie in its folder"):
        read_run(run)


def test_labels_of_an_axis_differ_and_have_the_same_decimals() -> None:
    assert labels([0.0, 0.5, 1.0]) == ["0", "0.5", "1.0"]
    assert labels([0.999, 0.9995, 1.0]) == ["0.9990", "0.9995", "1.0000"]
    assert labels([0, 5000, 10_000]) == ["0", "5k", "10k"]
    assert labels([1_000_001, 1_000_002]) == ["1,000,001", "1,000,002"]
    assert len(set(labels([1.00e-9, 1.05e-9, 1.10e-9]))) == 3


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"),
        (12.0, "12"),
        (1234567, "1,234,567"),
        (12.3456, "12.35"),
        (0.0123456, "0.01235"),
        (1234.5678, "1,235"),
        (1.5e-7, "1.500 × 10⁻⁷"),  # noqa: RUF001
        (-2.5, "−2.500"),  # noqa: RUF001
        (float("nan"), "NaN"),
        (float("-inf"), "−∞"),  # noqa: RUF001
    ],
)
def test_numbers_are_written_to_four_significant_digits(value: float, text: str) -> None:
    assert full(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (999, "999"),
        (1500, "1.5k"),
        (1234, "1234"),
        (20_000, "20k"),
        (2.5e6, "2.5M"),
        (0.25, "0.25"),
        (1e-6, "1.0 × 10⁻⁶"),  # noqa: RUF001
    ],
)
def test_labels_are_short(value: float, text: str) -> None:
    assert short(value) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.25, "0.25 s"),
        (59.4, "59.4 s"),
        (59.7, "1 min 0 s"),
        (3599.9, "1 h 0 min"),
        (5000, "1 h 23 min"),
        (200_000, "2 d 7 h"),
    ],
)
def test_time_spans_are_written_in_their_two_largest_units(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_shares_are_written_in_percent() -> None:
    assert [percent(share) for share in (0.0, 0.1, 0.123456, 1.0, 0.000123)] == ["0 %", "10 %", "12.3 %", "100 %", "0.012 %"]


def grid_of(path: Path, labels: list[int], classes: int, **facts: object) -> None:
    """Write a grid as a training does, 8 in a row of 10 pixels each; an image is as bright as its class."""
    picture = Image.new("RGB", (8 * 12 + 2, -(-len(labels) // 8) * 12 + 2), (150, 150, 150))
    for place, label in enumerate(labels):
        x, y = 2 + place % 8 * 12, 2 + place // 8 * 12
        picture.paste((255 * label // classes,) * 3, (x, y, x + 10, y + 10))
    picture.save(path)
    path.with_suffix(".json").write_text(json.dumps({"columns": 8, "labels": labels, **facts}))


def test_samples_stand_in_columns_by_class_and_a_missing_one_leaves_its_place_empty(tmp_path: Path) -> None:
    grid_of(tmp_path / "g.png", [2, 0, 0, 2, 0, 1, 0, 0, 0], 3)
    read = read_grid(tmp_path / "g.png")
    assert read is not None
    rows = by_class(read, 3, 3, 1)
    shades = [[image and image.getpixel((5, 5))[0] for image in row] for row in rows]
    assert shades == [[0, 85, 170], [0, None, 170], [0, None, None]]
    beside = by_class(read, 3, 1, 2)
    assert [image and image.getpixel((0, 9))[0] for image in beside[0]] == [0, 0, 85, None, 170, 170]


@pytest.mark.parametrize(
    "facts",
    ["", "[]", '{"columns": "8"}', '{"columns": 0}', '{"columns": 7}', '{"columns": 1e99}', "[" * 99_000, '{"columns":'],
)
def test_a_grid_of_unknown_make_is_not_cut_apart(tmp_path: Path, facts: str) -> None:
    grid_of(tmp_path / "g.png", [0] * 64, 1)
    (tmp_path / "g.json").write_text(facts)
    assert read_grid(tmp_path / "g.png") is None


def test_a_grid_of_very_many_images_is_not_cut_apart(tmp_path: Path) -> None:
    Image.new("RGB", (8 * 3 + 2, 600 * 3 + 2)).save(tmp_path / "g.png")
    (tmp_path / "g.json").write_text('{"columns": 8}')
    assert read_grid(tmp_path / "g.png") is None
    Image.new("RGB", (8 * 3 + 2, 500 * 3 + 2)).save(tmp_path / "g.png")
    assert read_grid(tmp_path / "g.png") is not None


def test_what_stands_beside_a_grid_becomes_no_markup(make_run: MakeRun) -> None:
    path = make_run(scores=[score_line(400, 20.0, **{"histogram/histogram": [1, 1, 1]})], class_names=[EVIL] * 3)
    for name in ("real", "00000400"):
        grid_of(path / "samples" / f"{name}.png", [0, 1, 2] * 8, 3, labels_by=EVIL)
    page = report(path)
    assert [attrs for tag, attrs in page.tags if tag == "script"] == [{}]
    assert not [name for _, attrs in page.tags for name in attrs if name.startswith("on")]
    assert f"Samples stand below {EVIL[:-1]}" in page.text


@pytest.mark.parametrize("labels", [[1.0], ["<b>"], [True], [0] * 65, "0000"])
def test_labels_that_are_none_are_passed_over(tmp_path: Path, labels: object) -> None:
    grid_of(tmp_path / "g.png", [0] * 64, 1)
    (tmp_path / "g.json").write_text(json.dumps({"columns": 8, "labels": labels}))
    read = read_grid(tmp_path / "g.png")
    assert read is not None
    assert len(read.images) == 64
    assert list(read.labels) == []


def test_real_images_stand_above_the_generated_ones(make_run: MakeRun) -> None:
    lines = [score_line(400, 20.0, **{"histogram/histogram": [20, 20, 40]})]
    path = make_run(scores=lines)
    assert "<image" not in write_report([path], path.parent / "r.html").read_text()
    grid_of(path / "samples" / "real.png", [0, 1, 2], 3)
    grid_of(path / "samples" / "00000400.png", [2] * 64, 3, labels_by="the class that was asked for")
    html = write_report([path], path.parent / "r.html").read_text()
    # Three real ones, and generated ones of the third class alone, in a panel that names both.
    assert html.count("<image") == 4
    assert re.findall(r'<text class="side[^>]*>(\w+)</text>', html) == ["real", "made"]
    assert "Samples stand below the class that was asked for." in html


def test_a_difference_within_the_deviations_is_called_neither_better_nor_worse() -> None:
    column = Column("fid/fid", "k", {"id": "k"}, "lower")
    data = RunData(Path("r"), {}, "", {}, [], [], [], [], {})

    def row(*values: float) -> Row:
        return Row("r", tuple(ScoredRun(data, str(place), 1, {column: value}) for place, value in enumerate(values)))

    table = ScoreTable("t", (row(10.0, 12.0), row(11.0, 14.0), row(5.0, 6.0), row(20.0, 22.0), row(math.nan)))
    assert changes(table, column) == [
        ("", ""),
        ("▲ 13.6 %, within the deviations", ""),
        ("▼ 50 % better", "better"),
        ("▲ 90.9 % worse", "worse"),
        ("", ""),
    ]


def test_a_part_that_a_recipe_lacks_is_one_line_of_what_differs(make_run: MakeRun) -> None:
    one, two = make_run("one"), make_run("two", name="standard/plain", weight=0.5)
    assert report(one, two).rows[1] == ["losses.balance.weight", "2.0", "0.5"]
    text = (two / "recipe.toml").read_text()
    (two / "recipe.toml").write_text(text[: text.index("[losses.balance]")].replace("Balanced", "Plain"))
    glance = report(one, two).rows[:2]
    assert glance[1] == ["losses.balance", "cbgan/class-balance, weight 2.0", "\N{EN DASH}"]


@pytest.mark.parametrize(
    ("runs", "page"),
    [
        (["a/one"], "a/one-report.html"),
        (["a/one", "a/one/"], "a/one-report.html"),
        (["a/one", "a/two"], "a/report.html"),
        (["a/one", "b/two"], "report.html"),
        (["a/one", "a/deep/two"], "a/report.html"),
    ],
)
def test_a_page_lies_beside_the_runs_and_in_none_of_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, runs: list[str], page: str
) -> None:
    monkeypatch.chdir(tmp_path)
    assert beside([Path(run) for run in runs]).resolve() == (tmp_path / page).resolve()


@pytest.mark.parametrize(("lines", "monitors", "step"), [(5000, 1, 1), (10_001, 1, 3), (5000, 40, 4)])
def test_a_long_log_is_downloaded_thinned_out(make_run: MakeRun, lines: int, monitors: int, step: int) -> None:
    path = make_run()
    values = {f"m/{place}": 1 / 3 for place in range(monitors)}
    entries = (json.dumps({"iteration": n, "monitors": values}) + "\n" for n in range(1, lines + 1))
    (path / "log.jsonl").write_text("".join(entries))
    html = write_report([path], path.parent / "r.html").read_text()
    (content,) = re.findall(r'base64,([^"]+)" download="cbgan-digits-lt.csv"', html)
    table = base64.b64decode(content).decode()
    assert len(table) < 1_000_000
    assert [int(line.split(",")[0]) for line in table.splitlines()[1:3]] == [1, 1 + step]
    assert (f"one line of {step} of the log" in html) == (step > 1)


def test_no_text_of_a_run_is_a_formula_in_what_is_downloaded(make_run: MakeRun) -> None:
    path = make_run(name='=HYPERLINK("https://example.org")')
    html = write_report([path], path.parent / "r.html").read_text()
    (content,) = re.findall(r'href="data:text/csv;charset=utf-8;base64,([^"]+)" download="scores.csv"', html)
    cells = [cell for line in csv.reader(base64.b64decode(content).decode().splitlines()) for cell in line]
    assert any("HYPERLINK" in cell for cell in cells)
    assert not [cell for cell in cells if cell.startswith("=")]

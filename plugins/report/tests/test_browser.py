"""The report in a real browser: what lies on its first screen, what fits a phone, and what its script does."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from gancore_report.page import write_report
from PIL import Image

from plugins.report.tests.browser import BINARY, Browser

pytestmark = pytest.mark.skipif(BINARY is None, reason="there is no Chromium to show the page in")

CLASSES = 10


def grid(path: Path, labels: list[int], **facts: str) -> None:
    """Write a grid as a training does, 8 in a row: each image is as bright as its class."""
    picture = Image.new("RGB", (8 * 50 + 2, 8 * 50 + 2), (150, 150, 150))
    for place, label in enumerate(labels):
        picture.paste((25 * label,) * 3, (2 + place % 8 * 50, 2 + place // 8 * 50, 50 + place % 8 * 50, 50 + place // 8 * 50))
    picture.save(path)
    path.with_suffix(".json").write_text(json.dumps({"columns": 8, "labels": labels, **facts}))


def write_run(path: Path, shares: list[float], weight: float) -> Path:
    (path / "samples").mkdir(parents=True)
    (path / "recipe.toml").write_text(f'[run]\niterations = 400\n[losses.balance]\nuse = "a/b"\nweight = {weight}\n')
    names = [f"a-class-of-a-long-name-{label}" for label in range(CLASSES)]
    cites = ["arXiv:1802.05957", "OpenReview:yEnaS6yOkxy", "arXiv:1706.08500"]
    known = {
        "recipe_name": f"paper/a-long-name-{path.name}",
        "class_names": names,
        "class_counts": [10] * CLASSES,
        "cites": cites,
    }
    (path / "environment.json").write_text(json.dumps(known))
    losses = [{"generator/adversarial": 1 / n, "discriminator/adversarial": n / 400} for n in (100, 200, 300, 400)]
    log = [{"iteration": 100 * n, "losses": own} for n, own in enumerate(losses, 1)]
    (path / "log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in log))
    values = {"fid/fid": 10 * weight, "classes/histogram": shares}
    protocols = {"fid": {"id": "aaaa"}, "classes": {"id": "bbbb"}}
    score = {"iteration": 400, "scores": values, "protocols": protocols, "better": {"fid/fid": "lower"}}
    (path / "scores.jsonl").write_text(json.dumps(score) + "\n")
    for n in (200, 400):
        grid(path / "samples" / f"{n:08d}.png", [k % CLASSES for k in range(64)], labels_by="the class that was asked for")
    grid(path / "samples" / "real.png", [k % CLASSES for k in range(60)])
    return path


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs")
    runs = [write_run(folder / "one", [0.55, *[0.05] * 9], 2.0), write_run(folder / "two", [0.1] * 10, 1.0)]
    return write_report(runs, folder / "report.html")


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with Browser(tmp_path_factory.mktemp("profile")) as one:
        yield one


def boxes(browser: Browser, selector: str) -> list[tuple[float, float, float, float]]:
    """Return left, top, right, bottom of each element that shows, in pixels of the page."""
    code = f"""[...document.querySelectorAll({json.dumps(selector)})].map(e => e.getBoundingClientRect())
        .filter(b => b.width && b.height).map(b => [b.left, b.top + scrollY, b.right, b.bottom + scrollY])"""
    return [tuple(box) for box in browser.evaluate(code)]


@pytest.mark.parametrize("dark", [False, True])
def test_scores_histograms_and_samples_of_both_runs_are_on_the_first_screen(browser: Browser, page: Path, dark: bool) -> None:
    browser.open(page, 1280, 800, dark=dark)
    assert len(boxes(browser, ".glance .differences")) == 1
    assert len(boxes(browser, ".glance .scores")) == 1
    panels = boxes(browser, ".glance svg.panel")
    assert len(panels) == 2
    # A column of real images and one of generated ones below each of ten bars, in either run.
    assert len(boxes(browser, ".glance svg.panel image")) == 2 * 2 * CLASSES
    for selector in (".glance .differences", ".glance .scores", ".glance svg.panel", ".glance svg.panel image"):
        assert all(0 <= left < right <= 1280 and bottom <= 800 for left, _, right, bottom in boxes(browser, selector)), selector
    assert panels[0][1] == panels[1][1]
    assert browser.evaluate("getComputedStyle(document.body).backgroundColor") == (
        "rgb(20, 23, 28)" if dark else "rgb(255, 255, 255)"
    )
    assert browser.errors == []


@pytest.mark.parametrize("width", [390, 320, 768])
@pytest.mark.parametrize("script", [True, False])
def test_nothing_reaches_beyond_a_narrow_window(browser: Browser, page: Path, width: int, script: bool) -> None:
    browser.open(page, width, 844, script=script)
    if script:
        browser.evaluate("document.querySelectorAll('details').forEach(one => { one.open = true; })")
        assert browser.evaluate("document.documentElement.scrollWidth") == width
        cut = """[...document.querySelectorAll('td, th, figure, p, h1, h2, li, .entry, .whole')]
            .filter(e => e.getBoundingClientRect().right > innerWidth + 0.5).map(e => e.outerHTML.slice(0, 200))"""
        assert browser.evaluate(cut) == []
        # No citation is broken within itself.
        high = "[...document.querySelectorAll('.whole')].map(e => e.getBoundingClientRect().height)"
        assert max(browser.evaluate(high)) < 30 or width < 390
    assert browser.errors == []


def test_a_curve_says_its_values_where_it_is_pointed_at(browser: Browser, page: Path) -> None:
    browser.open(page, 1280, 800)
    assert boxes(browser, ".tip") == []
    chart = 'figure[data-curves]:has(svg[aria-label="discriminator/adversarial"])'
    browser.evaluate(f"document.querySelector('{chart}').scrollIntoView({{block: 'center'}})")
    left, top, right, bottom = browser.evaluate(
        f"(b => [b.left, b.top, b.right, b.bottom])(document.querySelector('{chart} svg').getBoundingClientRect())"
    )
    browser.point_at(right - 0.05 * (right - left), (top + bottom) / 2)
    told = browser.evaluate(f"document.querySelector('{chart} .tip').innerText")
    assert told.split() == ["iteration", "400", "A", "1", "B", "1"]
    browser.point_at((left + right) / 2, (top + bottom) / 2)
    assert browser.evaluate(f"document.querySelector('{chart} .tip').innerText").split()[:4] == ["iteration", "200", "A", "0.5"]
    browser.point_at(5, 5)
    assert boxes(browser, ".tip") == []
    assert browser.errors == []


def test_the_slider_shows_the_samples_of_one_iteration_of_both_runs(browser: Browser, page: Path) -> None:
    browser.open(page, 1280, 800)
    shown = "[...document.querySelectorAll('.moment img')].filter(e => e.offsetParent).map(e => e.alt)"
    names = ["paper/a-long-name-one", "paper/a-long-name-two"]
    assert browser.evaluate(shown) == [f"samples of {run} {name} at 400" for run, name in zip("AB", names, strict=True)]
    first = "(s => { s.value = 0; s.dispatchEvent(new Event('input')); })(document.querySelector('.slider input'))"
    browser.evaluate(first)
    assert browser.evaluate(shown) == [f"samples of {run} {name} at 200" for run, name in zip("AB", names, strict=True)]
    assert browser.evaluate("document.querySelector('.slider output').textContent") == "iteration 200"


def test_the_legend_switches_a_run_off_and_on_in_every_chart(browser: Browser, page: Path) -> None:
    browser.open(page, 1280, 800)
    drawn = "[...document.querySelectorAll('svg .line[data-run=\"0\"]')].filter(e => e.style.display !== 'none').length"
    assert browser.evaluate(drawn) == 2
    for left in (0, 2):
        browser.evaluate("document.querySelector('nav .entry').click()")
        assert browser.evaluate(drawn) == left


def test_without_its_script_the_page_shows_everything(browser: Browser, page: Path, tmp_path: Path) -> None:
    browser.open(page, 1280, 3000, script=False)
    browser.screenshot(tmp_path / "plain.png")
    with Image.open(tmp_path / "plain.png") as picture:
        assert picture.size == (1280, 3000)
        # Both moments of the training are there below each other, and no slider.
        colors = picture.convert("RGB").getcolors(1 << 24)
    assert colors is not None
    assert sum(number for number, color in colors if color == (150, 150, 150)) > 4 * 2000


def test_what_is_downloaded_are_the_numbers(browser: Browser, page: Path) -> None:
    browser.open(page, 1280, 800)
    read = """Promise.all([...document.querySelectorAll('a[download]')].map(a =>
        [a.download, atob(a.href.split('base64,')[1])]))"""
    files = dict(browser.evaluate(read))
    assert list(files) == ["scores.csv", "scores.json", "A-paper-a-long-name-one.csv", "B-paper-a-long-name-two.csv"]
    assert files["scores.csv"].splitlines()[1] == "A paper/a-long-name-one,paper/a-long-name-one,0,400,fid/fid,aaaa,lower,20.0"
    assert [row["scores"][0]["mean"] for row in json.loads(files["scores.json"])["rows"]] == [20.0, 10.0]
    lines = files["A-paper-a-long-name-one.csv"].splitlines()
    assert lines[0] == "iteration,generator/adversarial,discriminator/adversarial"
    assert len(lines) == 5


def test_what_is_printed_leaves_out_the_controls_and_unfolds_the_rest(browser: Browser, page: Path) -> None:
    browser.open(page, 760, 1000, dark=True, media="print")
    browser.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert boxes(browser, "nav .sections") == boxes(browser, ".slider") == boxes(browser, "#numbers") == []
    assert browser.evaluate("document.querySelectorAll('details:not([open])').length") == 0
    assert browser.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    browser.evaluate("dispatchEvent(new Event('afterprint'))")
    assert browser.evaluate("document.querySelectorAll('details[open]').length") == 0
    assert browser.errors == []


def test_the_panels_of_runs_averaged_over_seeds_stand_beside_each_other(browser: Browser, tmp_path: Path) -> None:
    shares = {"plain": [0.55, *[0.05] * 9], "better": [0.1] * 10}
    runs = []
    for weight, (name, own) in enumerate(shares.items(), 1):
        for seed in (0, 1):
            runs.append(write_run(tmp_path / f"{name}-{seed}", own, weight))
            recipe = runs[-1] / "recipe.toml"
            recipe.write_text(recipe.read_text().replace("[run]", f"[run]\nseed = {seed}"))
    browser.open(write_report(runs, tmp_path / "report.html"), 1280, 800)
    panels = boxes(browser, ".glance svg.panel")
    assert len(panels) == 2
    assert panels[0][1::2] == panels[1][1::2]
    assert max(bottom for _, _, _, bottom in panels) <= 800
    heads = browser.evaluate("[...document.querySelectorAll('.panels figcaption')].map(e => e.innerText)")
    assert [" ".join(head.split()) for head in heads] == [
        "A B paper/a-long-name-plain-0 iteration 400, samples of seed 0",
        "C D paper/a-long-name-better-0 iteration 400, samples of seed 0",
    ]

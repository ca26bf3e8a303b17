"""The report: one self-contained HTML page on one run, or on several side by side. Needs no torch."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from markupsafe import Markup

from gancore_report.downloads import numbers_section
from gancore_report.glance import drawn_by, glance_section
from gancore_report.overview import overview_section
from gancore_report.paths import distinct, write_whole
from gancore_report.reading import RunData, read_run
from gancore_report.recipes import recipes_section
from gancore_report.rendering import render, script
from gancore_report.robustness import robustness_section
from gancore_report.samples import samples_section
from gancore_report.scoring import classes_section, scores_section
from gancore_report.shown import Shown, named
from gancore_report.trends import losses_section, monitors_section

_SECTIONS: Mapping[str, Callable[[Sequence[Shown]], Markup]] = {
    "Scores": scores_section,
    "Robustness": robustness_section,
    "Classes": lambda runs: classes_section(runs, drawn=drawn_by(runs)),
    "Samples": samples_section,
    "Losses": losses_section,
    "Monitors": monitors_section,
    "Runs": overview_section,
    "Recipes": recipes_section,
    "Numbers": numbers_section,
}
"""What stands below the first screen."""

_MOST_NAMES = 4
"""With more runs, the page's title gives their number alone."""


def write_report(runs: Sequence[Path], out: Path) -> Path:
    """Write one HTML page that shows runs side by side, and return where it lies.

    A file of a run that is missing or damaged is passed over, and the page says so. A run that is named twice is shown once.

    Args:
        runs: Folders that `gancore train` wrote, at least one.
        out: The page to write; missing folders are made.

    Raises:
        GancoreError: No run is named, a folder holds none, or the page can't be written.
    """
    page = _page([read_run(path) for path in distinct(runs, "a report")])
    # JSON may hold half a surrogate pair, which has no form in UTF-8.
    write_whole(out, page.encode("utf-8", "replace").decode("utf-8"))
    return out


def _page(runs: Sequence[RunData]) -> str:
    shown = named(runs)
    sections = [(title, html) for title, section in _SECTIONS.items() if (html := section(shown))]
    title = shown[0].label if len(shown) == 1 else f"{len(shown)} runs"
    if 1 < len(shown) <= _MOST_NAMES:
        title += f": {', '.join(run.label for run in shown)}"
    summary = runs[0].recipe.get("summary") if len(shown) == 1 else None
    code = script()
    return render(
        "page",
        title=title,
        summary=summary if isinstance(summary, str) else "",
        glance=glance_section(shown),
        sections=sections,
        runs=shown if len(shown) > 1 else [],
        script=Markup(code),
        # Of all code the page's own alone may run, whatever a run's files hold.
        digest=base64.b64encode(hashlib.sha256(code.encode()).digest()).decode(),
    )

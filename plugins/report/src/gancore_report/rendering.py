"""HTML from the package's templates, in which every text is escaped."""

from __future__ import annotations

from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

_ENVIRONMENT = Environment(
    loader=PackageLoader("gancore_report"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


def render(template: str, **values: Any) -> Markup:
    """Return a template filled with values; what is no `Markup` comes out as text."""
    return Markup(_ENVIRONMENT.get_template(f"{template}.html.jinja").render(values))


def stylesheet() -> str:
    """Return how the report looks, for pages of one's own that show its charts."""
    return _ENVIRONMENT.get_template("style.css").render()


def script() -> str:
    """Return what the page does in a browser: values of curves where it is pointed at, and a slider of samples."""
    return _ENVIRONMENT.get_template("script.js").render()

"""A whole recipe with every key of every table, as the documentation has it: ``python -m gancore_standard.whole_recipe``."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator

from gancore_standard.table_keys import Key, about, keys_of

PAGE = """# A whole recipe

Every table of a recipe with every key that does not depend on a component, its default, and what it does. A recipe of yours
has the few that differ: `gancore new-recipe FOLDER` writes one. What a component takes beside these, `gancore show NAME`
says; a table's keys, `gancore show run` and so on. Keys without a default are commented out.

This recipe trains as it is. It is made of the code: `python -m gancore_standard.whole_recipe`.
"""

WIDTH = 110

TABLES: dict[str, dict[str, list[str]]] = {
    "run": {"run": ["iterations"]},
    "data": {"data": ['use = "standard/digits"']},
    "sources": {"sources.others": ['use = "standard/digits"']},
    "samplers": {
        "samplers.some": ['use = "standard/take-classes"', "keep = [0, 1, 2, 3, 4, 5, 6, 7]"],
        "samplers.balanced": ['use = "standard/class-balanced"'],
    },
    "latent": {"latent": ['use = "standard/normal"']},
    "networks": {
        "networks.generator": ['use = "standard/sndcgan-generator"', "width = 0.25"],
        "networks.discriminator": ['use = "standard/sndcgan-discriminator"', "width = 0.25"],
        "networks.annotator": [
            'use = "standard/small-cnn"',
            'trained_by = "standard/digits-annotator"',
            'inherits = ["data"]',
        ],
    },
    "heads": {"heads.adversarial": ['use = "standard/linear"']},
    "losses": {"losses.adversarial": ['use = "standard/hinge"']},
    "attacks": {"attacks": []},
    "loop": {"loop": ['use = "standard/alternating"']},
    "optimizers": {
        "optimizers.generator": ['use = "standard/adam"', "lr = 2e-4"],
        "optimizers.discriminator": ['use = "standard/adam"', "lr = 2e-4"],
    },
    "ema": {"ema": []},
    "evaluation": {"evaluation": []},
    "metrics": {
        "metrics.fid": ['use = "standard/fid"', 'network = "annotator"'],
        "metrics.classes": ['use = "standard/class-histogram"', 'network = "annotator"'],
    },
}
"""Tables of the recipe, in its order -> the tables that stand there, with the lines that say what is no default."""

TEXTS = """# The texts of a recipe: what it is, the papers of it, and a recipe to start from (by name or file).
summary = "A whole recipe"
cite = []
# extends = "standard/base-32"
"""


def page() -> str:
    """Return the page in Markdown."""
    return "\n".join([PAGE, "```toml", TEXTS, *_lines(), "```", ""])


def _lines() -> Iterator[str]:
    for table, places in TABLES.items():
        yield from textwrap.wrap(about(table), WIDTH, initial_indent="# ", subsequent_indent="# ", break_on_hyphens=False)
        first = next(iter(places))
        # An attack is no part of most trainings, so its table is shown and not there.
        hidden = "# " if table == "attacks" else ""
        yield f"{hidden}[{'attacks.pgd' if hidden else first}]"
        yield from (f'{hidden}use = "fastrobgan/pgd"',) * bool(hidden)
        said = {line.partition(" = ")[0]: line for line in places[first] if " = " in line}
        for key in keys_of(table):
            yield from _key(key, said.pop(key.name, ""), hidden) if not (hidden and key.name == "use") else ()
        yield from (["", "# Settings of the component."] if said else [])
        yield from said.values()
        yield ""
        for place, lines in list(places.items())[1:]:
            yield from (f"[{place}]", *lines, "")


def _key(key: Key, line: str, hidden: str) -> Iterator[str]:
    meaning = f"{key.meaning} {key.allowed[0].upper()}{key.allowed[1:]}."
    yield ""
    yield from textwrap.wrap(meaning, WIDTH, initial_indent="# ", subsequent_indent="# ", break_on_hyphens=False)
    value = key.default
    yield line or (f"# {key.name} = ..." if value == "none" else f"{hidden}{key.name} = {value}")


if __name__ == "__main__":
    print(page(), end="")

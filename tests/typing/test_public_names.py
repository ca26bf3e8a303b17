"""What the type checker reads names every public name."""

from __future__ import annotations

import re
from pathlib import Path

import gancore


def test_no_public_name_is_left_out_of_the_type_tests() -> None:
    text = (Path(__file__).parent / "public_names.py").read_text()
    assert set(dir(gancore)) - set(re.findall(r"\bgancore\.(\w+)", text)) == set()

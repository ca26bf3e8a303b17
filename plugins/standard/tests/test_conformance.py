"""Everything that gancore asks of a plugin."""

from gancore.testing import conformance

test_conformance = conformance("standard", {"per-class": {"count": 3}, "take-classes": {"keep": [0, 2]}})

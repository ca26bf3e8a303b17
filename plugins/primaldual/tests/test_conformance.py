"""Everything that gancore asks of a plugin."""

from gancore.testing import conformance

test_conformance = conformance("primaldual", settings={"dual-update": {"bandwidth": 1.0}}, recipes={"ring": {}})

"""Everything that gancore asks of a plugin."""

from gancore.testing import conformance

test_conformance = conformance("cbgan", settings={"resize-crop": {"size": 10, "crop": 8}})

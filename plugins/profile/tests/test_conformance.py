"""Everything that gancore asks of a plugin."""

from gancore.testing import conformance

test_conformance = conformance("profile", elsewhere={"compile": "compiling takes most of a minute; test_compiling.py tries it"})

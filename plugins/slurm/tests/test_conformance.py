"""Everything that gancore asks of a plugin."""

from gancore.testing import conformance

test_conformance = conformance("slurm")

"""Everything that gancore asks of a plugin."""

from gancore.testing import conformance

test_conformance = conformance(
    "fastrobgan",
    settings={"generator": {"width": 0.125}, "discriminator": {"width": 0.125}, "plain-discriminator": {"width": 0.125}},
    elsewhere={"external": "foolbox imports what SciPy deprecates, which pytest refuses; test_attacks.py tries it"},
)

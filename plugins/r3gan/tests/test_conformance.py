"""Everything that gancore asks of a plugin."""

from gancore.testing import conformance

SMALL = {"maps": [8], "blocks": 1}

test_conformance = conformance(
    "r3gan", settings={"generator": SMALL, "discriminator": SMALL, "half-life": {"half_life": 10.0}}, recipes={"digits": {}}
)

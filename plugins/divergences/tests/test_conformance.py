"""Everything that gancore asks of a plugin."""

from gancore.testing import conformance

test_conformance = conformance(
    "divergences", settings={"divergences": {"critic": "host/discriminator", "critic_steps": 3}}, recipes={"digits": {}}
)

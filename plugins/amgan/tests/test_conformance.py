"""Everything that gancore asks of a plugin."""

from gancore.testing import conformance

EXTENDED = {"heads": {"extended": {"use": "amgan/extended"}}}

test_conformance = conformance(
    "amgan",
    beside={"am-gan": EXTENDED, "am-gan-predefined": EXTENDED, "labelgan": EXTENDED},
    settings={"am-score": {"network": "classifier"}},
    recipes={"digits": {}},
)

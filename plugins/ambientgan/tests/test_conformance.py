"""Everything that gancore asks of a plugin."""

from gancore.testing import conformance

SIZE = {"size": 3}

test_conformance = conformance(
    "ambientgan", settings={"block-patch": SIZE, "keep-patch": SIZE, "extract-patch": SIZE}, recipes={"digits-small": {}}
)

"""Everything that gancore asks of a plugin."""

from gancore.testing import conformance

test_conformance = conformance(
    "defensegan",
    settings={
        "black-box": {"epsilon": 0.1, "rounds": 2, "epochs": 2},
        "reconstruction": {"steps": 3, "restarts": 2},
        "reconstructed": {"steps": 3, "restarts": 2},
    },
    recipes={"digits-gan": {}},
)

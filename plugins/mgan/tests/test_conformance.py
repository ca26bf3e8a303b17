"""Everything that gancore asks of a plugin."""

from gancore.testing import conformance

LATENT = {"latent": {"use": "mgan/generators", "generators": 2}}
HEAD = {"heads": {"members": {"use": "mgan/classifier", "generators": 2}}}

test_conformance = conformance(
    "mgan",
    settings={"generators": {"generators": 2}, "classifier": {"generators": 2}},
    beside={"diversity": {**LATENT, **HEAD}},
    recipes={"ring": {}, "grid": {}},
)

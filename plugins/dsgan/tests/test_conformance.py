"""Everything that gancore asks of a plugin."""

from gancore.testing import conformance

MIXTURE = "joined images replace generated ones in each process's share of a batch, so other latents are left out than in one"

test_conformance = conformance("dsgan", apart={"difference": MIXTURE})

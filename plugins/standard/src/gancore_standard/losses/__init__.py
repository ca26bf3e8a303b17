"""Loss terms that ship with core: adversarial objectives, gradient penalties, classification."""

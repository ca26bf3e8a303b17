"""Loss terms: adversarial objectives, gradient penalties, classification."""

"""Scores that ship with core: Fréchet distance, Inception score, class histogram, accuracies."""

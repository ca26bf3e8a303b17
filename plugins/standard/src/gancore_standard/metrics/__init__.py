"""Scores that ship with core: Fréchet and kernel distances, Inception score, precision and recall, histogram, accuracies."""

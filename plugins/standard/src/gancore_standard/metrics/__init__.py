"""Scores: Fréchet and kernel distances, Inception score, precision and recall, histogram, accuracies."""

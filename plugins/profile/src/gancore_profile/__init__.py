"""Where an iteration spends its time. Imports no torch."""

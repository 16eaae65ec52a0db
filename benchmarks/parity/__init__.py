"""Parity: the ladder with one seed, equivalence over several."""

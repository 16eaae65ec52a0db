"""Ports that people bring: packs, recordings, and what the two show together."""

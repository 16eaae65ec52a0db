"""Cells: from a request to answers."""

"""Limits on what is read and asked for. Each is far above what a fine-tuning of BERT needs, and small enough that what
follows from it fits into a common machine's memory."""

from __future__ import annotations

MESSAGE = 300
"""Characters of a message. The middle of a longer one is left out."""

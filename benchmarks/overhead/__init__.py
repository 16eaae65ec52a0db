"""This project's own cost."""

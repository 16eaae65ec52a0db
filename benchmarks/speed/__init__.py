"""Speed: variants of training side by side."""

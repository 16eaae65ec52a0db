"""Speed: variants of training side by side, growing work, and the operators of a step."""

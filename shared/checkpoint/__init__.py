"""Checkpoints in HuggingFace's layout: config, weights, tokenizer; where they come from and how they are saved."""

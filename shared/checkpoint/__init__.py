"""Checkpoints in HuggingFace's layout: config, weights, tokenizer; finding and saving them."""

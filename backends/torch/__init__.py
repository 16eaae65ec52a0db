"""PyTorch with HuggingFace transformers."""

"""Converts a checkpoint's pytorch_model.bin to model.safetensors: python -m backends.convert SRC_FOLDER DST_FOLDER

Only torch reads the old format, so an interpreter that has torch runs this.
"""

from __future__ import annotations

import sys
from pathlib import Path

from shared.checkpoint.weights import TORCH_WEIGHTS, WEIGHTS


def convert(source: Path, target: Path) -> None:
    """Writes every tensor of the pytorch_model.bin in `source`, with its name and dtype, as model.safetensors into
    `target`. Only tensors are unpickled."""
    import torch
    from safetensors.torch import save_file

    stored = torch.load(source / TORCH_WEIGHTS, map_location="cpu", weights_only=True)
    # Tied weights are stored once under two names, which safetensors refuses.
    tensors = {name: tensor.detach().clone().contiguous() for name, tensor in stored.items()}
    save_file(tensors, target / WEIGHTS, metadata={"format": "pt"})


if __name__ == "__main__":
    convert(Path(sys.argv[1]), Path(sys.argv[2]))

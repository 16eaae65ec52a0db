"""The word embedding by rows, in torch (see backends/word_rows.py)."""

from __future__ import annotations

import numpy as np
import torch
from torch.nn import functional

from backends.word_rows import WordRows


class RowEmbedding(torch.nn.Module):
    """A word embedding whose parameter is the block of rows that training can touch.

    With gradients it looks up words in the block alone. Without, it looks up any word."""

    places: torch.Tensor
    """`WordRows.places`."""
    rest: torch.Tensor
    """First values of all rows, [vocab_size, width]. Those of the block are not read."""
    kept: torch.Tensor
    """The share of them that decay has left, float64 [1]."""

    def __init__(self, rows: WordRows, table: torch.Tensor) -> None:
        """Takes the whole table's values, and keeps the tensor."""
        super().__init__()
        self.rows = rows
        self.weight = torch.nn.Parameter(table[torch.from_numpy(rows.ids).to(table.device)])
        for name, tensor in (
            ("places", torch.tensor(rows.places, device=table.device)),
            ("rest", table),
            ("kept", torch.ones(1, dtype=torch.float64, device=table.device)),
        ):
            self.register_buffer(name, tensor, persistent=False)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        """The rows of ids [b, s], [b, s, width]. The pad token's gets no gradient."""
        places = self.places[ids]
        if torch.is_grad_enabled():
            return functional.embedding(places, self.weight, self.rows.pad)
        touched = functional.embedding(places.clamp(min=0), self.weight)
        rest = (functional.embedding(ids, self.rest).double() * self.kept).to(touched.dtype)
        return torch.where((places >= 0)[..., None], touched, rest)

    def table(self) -> np.ndarray:
        """A copy of the whole table, [vocab_size, width]."""
        return self.rows.table(self.weight.numpy(force=True), self.rest.numpy(force=True), self.kept.item())

    def set_table(self, table: np.ndarray) -> None:
        """Overwrites every row."""
        with torch.no_grad():
            self.weight.copy_(torch.from_numpy(self.rows.block(table)))
            self.rest.copy_(torch.tensor(table))
            self.kept.fill_(1)

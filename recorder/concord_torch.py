"""Watches a torch model: hooks keep what its embeddings, layers and pooler give.

    watch = Watch(model)
    logits = model(**inputs)
    record(step, hidden=watch.hidden, logits=logits)

Parameters and gradients need no watcher: record(step, parameters=model), record(step, gradients=model).
"""

from __future__ import annotations

from typing import Any

import torch

try:
    from concord_recorder import name_layers
except ImportError:
    from recorder.concord_recorder import name_layers


class Watch:
    """Keeps hidden states of each forward pass in `hidden`, copied, under the pack's names.

    Modules are found by their paths. `embeddings`, `layers` and `pooled` are regular expressions of whole paths, for a
    model whose paths are not usual ones (`name_layers`). Of an output that is a tuple, the first is taken. DistilBERT's
    pre_classifier is recorded after its relu, as the classifier reads it.
    """

    def __init__(self, model: torch.nn.Module, embeddings: str = "", layers: str = "", pooled: str = "") -> None:
        self.hidden: dict[str, torch.Tensor] = {}
        modules = dict(model.named_modules())
        names = name_layers(modules, embeddings=embeddings, layers=layers, pooled=pooled)
        self._hooks = [modules[path].register_forward_hook(self._hook(path, name)) for path, name in names.items()]

    def _hook(self, path: str, name: str) -> Any:
        def keep(module: Any, inputs: Any, output: Any) -> None:
            state = output[0] if isinstance(output, (tuple, list)) else output
            state = state.detach().clone()
            self.hidden[name] = state.relu() if path.endswith("pre_classifier") else state

        return keep

    def remove(self) -> None:
        """Takes the hooks off the model."""
        for hook in self._hooks:
            hook.remove()

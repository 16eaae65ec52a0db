"""Watches a Paddle model: hooks keep what its embeddings, layers and pooler give. It was tried by hand with Paddle
2.6.2. No test runs it, since Paddle has no environment here.

    watch = Watch(model)
    logits = model(**inputs)
    record(step, hidden=watch.hidden, logits=logits)

Parameters and gradients need no watcher: record(step, parameters=model), record(step, gradients=model).
"""

from __future__ import annotations

from typing import Any

try:
    from concord_recorder import name_layers
except ImportError:
    from recorder.concord_recorder import name_layers


class Watch:
    """Keeps hidden states of each forward pass in `hidden`, copied, under the pack's names. `embeddings`, `layers` and
    `pooled` are regular expressions of whole paths of sublayers (`name_layers`)."""

    def __init__(self, model: Any, embeddings: str = "", layers: str = "", pooled: str = "") -> None:
        self.hidden: dict[str, Any] = {}
        found = dict(model.named_sublayers())
        names = name_layers(found, embeddings=embeddings, layers=layers, pooled=pooled)
        self._hooks = [found[path].register_forward_post_hook(self._hook(name)) for path, name in names.items()]

    def _hook(self, name: str) -> Any:
        def keep(layer: Any, inputs: Any, output: Any) -> None:
            state = output[0] if isinstance(output, (tuple, list)) else output
            self.hidden[name] = state.detach().clone()

        return keep

    def remove(self) -> None:
        """Takes the hooks off the model."""
        for hook in self._hooks:
            hook.remove()

"""Watches a Keras model and its optimizer, on any engine: what layers give, and the gradients that the optimizer gets.

    watch = Watch(model, optimizer)
    ...                                     # a step: model(...), optimizer.apply(...), or model.train_on_batch(...)
    record(step, hidden=watch.hidden, gradients=watch.gradients, parameters=model)

Tensors have values outside compiled functions only: compile(run_eagerly=True, jit_compile=False) while recording.
Weights need no watcher: record(run, parameters=model) names them by their paths.
"""

from __future__ import annotations

import contextlib
import functools
from typing import Any, Callable

import numpy as np

try:
    from concord_recorder import RecorderError, as_array, name_layers
except ImportError:
    from recorder.concord_recorder import RecorderError, as_array, name_layers

try:
    from keras.ops import stop_gradient
except ImportError:  # Keras 2

    def stop_gradient(tensor: Any) -> Any:
        return tensor


class Watch:
    """Keeps hidden states of the model's calls in `hidden`, and (gradient, variable) pairs of the optimizer's last step
    in `gradients`, before the optimizer clips. All are copied.

    Layers are found by their paths. `embeddings`, `layers` and `pooled` are regular expressions of whole paths, for a
    model whose paths are not usual ones (`name_layers`).
    """

    def __init__(
        self, model: Any = None, optimizer: Any = None, embeddings: str = "", layers: str = "", pooled: str = ""
    ) -> None:
        self.hidden: dict[str, np.ndarray] = {}
        self.gradients: list[tuple[np.ndarray, Any]] = []
        if model is not None:
            found = {getattr(one, "path", None) or one.name: one for one in model._flatten_layers(include_self=False)}
            names = name_layers(found, embeddings=embeddings, layers=layers, pooled=pooled)
            for path, name in names.items():
                found[path].call = self._keeping(found[path].call, name)
        if optimizer is not None and hasattr(optimizer, "apply"):
            optimizer.apply = self._before(optimizer, optimizer.apply)
        elif optimizer is not None:
            optimizer.apply_gradients = self._before_pairs(optimizer.apply_gradients)

    def _keeping(self, call: Callable[..., Any], name: str) -> Callable[..., Any]:
        @functools.wraps(call)
        def keep(*arguments: Any, **named: Any) -> Any:
            output = call(*arguments, **named)
            state = output[0] if isinstance(output, (tuple, list)) else output
            self.hidden.pop(name, None)
            # Keras also calls layers for shapes alone; the gradient's own tracing has values behind it.
            with contextlib.suppress(RecorderError):
                self.hidden[name] = as_array(stop_gradient(state), name)
            return output

        return keep

    def _before(self, optimizer: Any, apply: Callable[..., Any]) -> Callable[..., Any]:
        """Keras 3's optimizer.apply(gradients, variables)."""

        @functools.wraps(apply)
        def keep(grads: Any, trainable_variables: Any = None) -> Any:
            grads = list(grads)
            variables = optimizer._trainable_variables if trainable_variables is None else list(trainable_variables)
            self._keep(zip(grads, variables))
            return apply(grads, trainable_variables)

        return keep

    def _before_pairs(self, apply: Callable[..., Any]) -> Callable[..., Any]:
        """Keras 2's optimizer.apply_gradients(pairs)."""

        @functools.wraps(apply)
        def keep(grads_and_vars: Any, *arguments: Any, **named: Any) -> Any:
            pairs = list(grads_and_vars)
            self._keep(pairs)
            return apply(pairs, *arguments, **named)

        return keep

    def _keep(self, pairs: Any) -> None:
        given = [pair for pair in pairs if pair[0] is not None]
        try:
            self.gradients = [(as_array(gradient, "gradients"), variable) for gradient, variable in given]
        except RecorderError:
            raise RecorderError(
                "gradients: no values inside a compiled function; compile(run_eagerly=True, jit_compile=False)"
            ) from None

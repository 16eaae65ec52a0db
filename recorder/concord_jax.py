"""Finds hidden states and parameters of Flax models. A pytree of plain JAX needs no watcher.

    logits, kept = model.apply(params, ids, capture_intermediates=True, mutable=["intermediates"])     # Linen
    record(step, hidden=hidden_of(kept["intermediates"]), logits=logits)
    record(run, parameters=parameters_of(model))                                                       # NNX

Inside jax.jit return what is to be recorded; outside it is an array.
"""

from __future__ import annotations

from typing import Any, Iterator, Mapping

try:
    from concord_recorder import name_layers
except ImportError:
    from recorder.concord_recorder import name_layers


def hidden_of(
    intermediates: Mapping[str, Any], embeddings: str = "", layers: str = "", pooled: str = ""
) -> dict[str, Any]:
    """Hidden states under the pack's names, from what `capture_intermediates` kept. `embeddings`, `layers` and `pooled`
    are regular expressions of whole paths such as bert/encoder/layer/0 (`name_layers`). Of an output that is a tuple,
    the first is taken."""
    outputs = dict(_outputs(intermediates, ""))
    names = name_layers(outputs, embeddings=embeddings, layers=layers, pooled=pooled)
    return {name: outputs[path] for path, name in names.items()}


def _outputs(tree: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    """The output of each module's first call, by the module's path."""
    for key, value in tree.items():
        if key == "__call__":
            output = value[0]
            while isinstance(output, (tuple, list)):
                output = output[0]
            yield prefix, output
        elif isinstance(value, Mapping):
            yield from _outputs(value, f"{prefix}/{key}" if prefix else key)


def parameters_of(module: Any) -> dict[str, Any]:
    """Parameters of an NNX module, as nested dicts of arrays."""
    from flax import nnx

    tree: dict[str, Any] = nnx.to_pure_dict(nnx.state(module, nnx.Param))
    return tree

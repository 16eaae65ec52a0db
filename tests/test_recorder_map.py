"""The map from a port's parameters to the pack's, which the recorder finds by value."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recorder.concord_recorder import Map, RecorderError, find_map
from shared.architecture import Weights
from tests.packs import HEADS, LAYERS, WIDTH, untrained, weights

D = WIDTH // HEADS
PACK = weights()
QUERY, KEY, VALUE = (f"bert.encoder.layer.1.attention.self.{name}" for name in ("query", "key", "value"))


def whole(found: Map, port: Weights, pack: Weights = PACK) -> None:
    """Asserts that the map gives every parameter of the pack, bit by bit, and leaves nothing over. It goes through
    JSON."""
    found = Map.from_json(json.loads(json.dumps(found.to_json())))
    mapped = found.apply(port)
    assert found.missing == []
    assert found.unmatched == []
    assert mapped.keys() == pack.keys()
    for name, array in mapped.items():
        assert array.shape == pack[name].shape, name
        assert np.array_equal(array, pack[name]), name


# One array at a time, in layouts that hypothesis makes.


@st.composite
def arrays(draw: st.DrawFn) -> np.ndarray:
    """An array of the pack, of one or two axes, some divisible by the heads."""
    shape = draw(st.lists(st.sampled_from([2, 3, 4, 6, 8, 12]), min_size=1, max_size=2))
    return np.random.default_rng(draw(st.integers(0, 9))).standard_normal(shape, np.float32)


def into_heads(array: np.ndarray, axis: int, first: bool) -> np.ndarray:
    """Splits an axis into [heads, d], or its entries into [d, heads]."""
    n = array.shape[axis]
    if n % HEADS or n == HEADS:
        return array
    array = array.reshape(*array.shape[:axis], HEADS, n // HEADS, *array.shape[axis + 1 :])
    return array if first else array.swapaxes(axis, axis + 1)


@given(arrays(), st.data())
def test_any_order_of_axes_and_heads_is_found(array: np.ndarray, data: st.DataObject) -> None:
    port = into_heads(array, data.draw(st.integers(0, array.ndim - 1)), data.draw(st.booleans()))
    port = port.transpose(data.draw(st.permutations(range(port.ndim))))
    if data.draw(st.booleans()):
        port = port.reshape(-1) if array.ndim == 1 else port[..., None]
    found = find_map({"x": array}, {"mine": port}, HEADS)
    assert np.array_equal(found.apply({"mine": port})["x"], array)


@given(arrays(), st.integers(2, 3), st.data())
def test_fused_arrays_are_found(array: np.ndarray, parts: int, data: st.DataObject) -> None:
    pack = {str(n): array + np.float32(n) for n in range(parts)}
    order = data.draw(st.permutations(sorted(pack)))
    axis = data.draw(st.integers(0, array.ndim - 1))
    port = fuse(
        [pack[name] for name in order], axis, data.draw(st.sampled_from(["block", "element", "head", "own axis"]))
    )
    port = port.transpose(data.draw(st.permutations(range(port.ndim))))
    mapped = find_map(pack, {"mine": port}, HEADS).apply({"mine": port})
    assert mapped.keys() == pack.keys()
    assert all(np.array_equal(mapped[name], pack[name]) for name in pack)


def fuse(parts: Sequence[np.ndarray], axis: int, way: str) -> np.ndarray:
    """Several arrays in one, along an axis."""
    n, shape = parts[0].shape[axis], list(parts[0].shape)
    shape[axis] *= len(parts)
    if way == "element":
        return np.stack(parts, axis + 1).reshape(shape)
    if way == "head" and n % HEADS == 0 and n > HEADS:
        split = [part.reshape(*shape[:axis], HEADS, n // HEADS, *shape[axis + 1 :]) for part in parts]
        return np.stack(split, axis + 1).reshape(shape)
    return np.stack(parts, axis) if way == "own axis" else np.concatenate(parts, axis)


@given(st.integers(2, 12), st.integers(2, 12), st.integers(-5, 9), st.booleans())
def test_padded_and_cut_arrays_are_found(rows: int, width: int, more: int, transposed: bool) -> None:
    array = np.random.default_rng(rows).standard_normal((rows, width), np.float32)
    port = np.concatenate([array, np.zeros((more, width), np.float32)]) if more >= 0 else array[: max(1, rows + more)]
    port = port.T if transposed else port
    found = find_map({"x": array}, {"mine": port}, HEADS)
    mapped = found.apply({"mine": port})["x"]
    kept = min(rows, max(1, rows + more))
    assert np.array_equal(mapped, array[:kept])
    assert found.entries["x"].get("covers") == (None if kept == rows else [kept, width])


# Models.


def test_the_packs_own_names_and_layout() -> None:
    found = find_map(PACK, PACK, HEADS)
    whole(found, PACK)
    assert {entry["note"] for entry in found.entries.values()} == {"as it is"}
    assert set(found.entries["classifier.bias"]) == {"from", "shape", "note"}


def renamed(
    pairs: Sequence[tuple[str, str]], change: Callable[[str, np.ndarray], np.ndarray], pack: Weights
) -> Weights:
    """A port's parameters: names by regular expressions, arrays by `change`, which is given the pack's name."""
    port: Weights = {}
    for name, array in pack.items():
        mine = name
        for pattern, replacement in pairs:
            mine = re.sub(pattern, replacement, mine)
        assert mine not in port
        port[mine] = np.ascontiguousarray(change(name, array))
    return port


def kernels(name: str, array: np.ndarray) -> np.ndarray:
    """Linear weights [in, out]."""
    return array.T if array.ndim == 2 and "embeddings" not in name else array


def google(pack: Weights) -> Weights:
    """google-research/bert: kernels [in, out] but for output_weights."""
    return renamed(
        [
            (r"\.layer\.", r".layer_"),
            (r"(embeddings)\.weight$", r"\1"),
            (r"LayerNorm\.weight", "LayerNorm.gamma"),
            (r"LayerNorm\.bias", "LayerNorm.beta"),
            (r"classifier\.(weight|bias)", r"output_\1"),
            (r"\.weight$", ".kernel"),
            (r"\.", "/"),
        ],
        lambda name, array: array if name.startswith("classifier") else kernels(name, array),
        pack,
    )


def flax(pack: Weights) -> Weights:
    """transformers' FlaxBert. Its parameters come in the alphabet's order."""
    port = renamed(
        [
            (r"embeddings\.weight$", "embeddings.embedding"),
            (r"LayerNorm\.weight", "LayerNorm.scale"),
            (r"\.weight$", ".kernel"),
            (r"\.", "/"),
        ],
        kernels,
        pack,
    )
    return dict(sorted(port.items()))


def paddle(pack: Weights) -> Weights:
    """PaddleNLP: norm1 after attention, norm2 after the feed-forward; weights [in, out]."""
    return renamed(
        [
            (r"encoder\.layer\.(\d+)\.attention\.output\.dense", r"encoder.layers.\1.self_attn.out_proj"),
            (r"encoder\.layer\.(\d+)\.attention\.output\.LayerNorm", r"encoder.layers.\1.norm1"),
            (r"encoder\.layer\.(\d+)\.intermediate\.dense", r"encoder.layers.\1.linear1"),
            (r"encoder\.layer\.(\d+)\.output\.dense", r"encoder.layers.\1.linear2"),
            (r"encoder\.layer\.(\d+)\.output\.LayerNorm", r"encoder.layers.\1.norm2"),
            (r"encoder\.layer\.(\d+)\.attention\.self\.(.)[a-z]+", r"encoder.layers.\1.self_attn.\2_proj"),
            (r"LayerNorm", "layer_norm"),
        ],
        kernels,
        pack,
    )


def gluon(pack: Weights) -> Weights:
    """GluonNLP's structural names; nothing is transposed."""
    return renamed(
        [
            (r"embeddings\.(word|token_type)_embeddings\.weight", r"\1_embed.0.weight"),
            (r"embeddings\.position_embeddings\.weight", r"encoder.position_weight"),
            (r"embeddings\.LayerNorm", "encoder.layer_norm"),
            (r"encoder\.layer\.", "encoder.transformer_cells."),
            (r"attention\.self\.(query|key|value)", r"attention_cell.proj_\1"),
            (r"attention\.output\.dense", "proj"),
            (r"attention\.output\.LayerNorm", "layer_norm"),
            (r"intermediate\.dense", "ffn.ffn_1"),
            (r"output\.dense", "ffn.ffn_2"),
            (r"output\.LayerNorm", "ffn.layer_norm"),
            (r"layer_norm\.weight", "layer_norm.gamma"),
            (r"layer_norm\.bias", "layer_norm.beta"),
            (r"pooler\.dense", "pooler"),
            (r"classifier", "classifier.1"),
        ],
        lambda name, array: array,
        pack,
    )


def keras_hub(pack: Weights) -> Weights:
    """keras-hub: query, key and value [in, heads, d], their biases [heads, d], the output [heads, d, out]."""

    def change(name: str, array: np.ndarray) -> np.ndarray:
        if "attention.self" in name:
            heads = array.reshape(HEADS, -1, *array.shape[1:])
            return heads.transpose(2, 0, 1) if array.ndim == 2 else heads
        if "attention.output.dense.weight" in name:
            return array.T.reshape(HEADS, -1, array.shape[0])
        return kernels(name, array)

    return renamed(
        [
            (r"bert\.embeddings\.(word)_embeddings\.weight", "token_embedding/embeddings"),
            (r"bert\.embeddings\.position_embeddings\.weight", "position_embedding/embeddings"),
            (r"bert\.embeddings\.token_type_embeddings\.weight", "segment_embedding/embeddings"),
            (r"bert\.embeddings\.LayerNorm", "embeddings_layer_norm"),
            (r"bert\.encoder\.layer\.(\d+)\.", r"transformer_layer_\1/"),
            (r"attention\.self\.", "self_attention_layer/"),
            (r"attention\.output\.dense", "self_attention_layer/attention_output"),
            (r"attention\.output\.LayerNorm", "self_attention_layer_norm"),
            (r"intermediate\.dense", "feedforward_intermediate_dense"),
            (r"output\.dense", "feedforward_output_dense"),
            (r"output\.LayerNorm", "feedforward_layer_norm"),
            (r"bert\.pooler\.dense", "pooled_dense"),
            (r"norm\.weight", "norm/gamma"),
            (r"norm\.bias", "norm/beta"),
            (r"classifier", "logits"),
            (r"\.weight$", "/kernel"),
            (r"\.", "/"),
        ],
        change,
        pack,
    )


def fused(way: str) -> Callable[[Weights], Weights]:
    """A port with query, key and value in one, [in, out]."""

    def port(pack: Weights) -> Weights:
        made: Weights = {}
        for name, array in kernels_only(pack).items():
            if "attention.self.key" not in name and "attention.self.value" not in name:
                parts = [name.replace("query", one) for one in ("query", "key", "value")]
                together = [kernels(one, pack[one]) for one in parts] if "query" in name else []
                made[name.replace("query", "qkv")] = fuse(together, array.ndim - 1, way) if together else array
        return made

    return port


def kernels_only(pack: Weights) -> Weights:
    return {name: kernels(name, array) for name, array in pack.items()}


def stacked(pack: Weights) -> Weights:
    """A port in JAX whose layers are one array each, for lax.scan."""
    made: Weights = {}
    for name, array in kernels_only(pack).items():
        if ".layer.0." in name:
            made[name.replace("layer.0", "layers")] = np.stack(
                [kernels(name, pack[name.replace("layer.0", f"layer.{n}")]) for n in range(LAYERS)]
            )
        elif ".layer." not in name:
            made[name] = array
    return made


def anonymous(pack: Weights) -> Weights:
    """bert4keras: layers without names, numbered."""
    return {f"dense_{n}/w": kernels(name, array) for n, (name, array) in enumerate(pack.items())}


PORTS = {
    "google": google,
    "flax": flax,
    "paddle": paddle,
    "gluon": gluon,
    "keras-hub": keras_hub,
    "fused in blocks": fused("block"),
    "fused by head": fused("head"),
    "fused by element": fused("element"),
    "fused on an axis": fused("own axis"),
    "stacked": stacked,
    "anonymous": anonymous,
}


@pytest.mark.parametrize("port", PORTS)
def test_ports_of_known_layouts_are_mapped_whole(port: str) -> None:
    mine = PORTS[port](PACK)
    whole(find_map(PACK, mine, HEADS), mine)


@pytest.mark.parametrize("port", [name for name in PORTS if name != "anonymous"])
def test_equal_arrays_are_told_apart_by_names(port: str) -> None:
    """An untrained BERT has zeros for every bias. What they are is seen by mapping other values afterwards: gradients
    in the same places."""
    pack = untrained()
    found = find_map(pack, PORTS[port](pack), HEADS)
    gradients = weights(seed=3)
    mapped = found.apply(PORTS[port](gradients))
    assert found.missing == found.unmatched == []
    wrong = [name for name in pack if not np.array_equal(mapped[name], gradients[name])]
    assert wrong == []


def test_equal_arrays_are_said_to_be_ambiguous() -> None:
    found = find_map(untrained(), google(untrained()), HEADS)
    assert "bert.encoder.layer.0.output.dense.bias" in found.ambiguous
    assert "bert.encoder.layer.0.output.dense.weight" not in found.ambiguous
    assert "equal ones, chosen by name" in found.entries["bert.encoder.layer.0.output.dense.bias"]["note"]


def test_many_layers_keep_their_numbers() -> None:
    pack = untrained(layers=12)
    gradients = weights(seed=3, layers=12)
    for port in (google, flax, paddle, gluon, keras_hub):
        mapped = find_map(pack, port(pack), HEADS).apply(port(gradients))
        wrong = [name for name in pack if not np.array_equal(mapped[name], gradients[name])]
        assert wrong == [], port.__name__


# What does not fit.


def test_an_array_that_is_none_of_the_packs_has_a_nearest() -> None:
    mine = google(PACK)
    name = "bert/encoder/layer_1/output/dense/kernel"
    mine[name] = mine[name] + np.float32(2e-3) * (np.arange(mine[name].size).reshape(mine[name].shape) == 5)
    found = find_map(PACK, mine, HEADS)
    assert found.missing == ["bert.encoder.layer.1.output.dense.weight"]
    (unmatched,) = found.unmatched
    assert (unmatched["name"], unmatched["nearest"]) == (name, "bert.encoder.layer.1.output.dense.weight")
    assert unmatched["difference"] == pytest.approx(2e-3, rel=1e-3)
    assert unmatched["entry"]["transpose"] == [1, 0]


def test_a_new_head_is_nearest_to_the_one_that_is_missing() -> None:
    mine = google(PACK) | {"output_weight": np.zeros((2, WIDTH), np.float32)}
    found = find_map(PACK, mine, HEADS)
    assert found.missing == ["classifier.weight"]
    assert [one["nearest"] for one in found.unmatched] == ["classifier.weight"]


def test_a_foreign_array_has_no_nearest() -> None:
    found = find_map(PACK, {**PACK, "moment": np.ones(77, np.float32), "steps": np.array([5])}, HEADS)
    (moment,) = found.unmatched
    assert moment == {"name": "moment", "part": -1, "nearest": None, "difference": None, "entry": None}


def test_a_layer_loaded_twice_is_a_copy() -> None:
    """And the layer that it stands for is missing."""
    mine = dict(PACK)
    mine[f"{QUERY}.weight"] = PACK[f"{KEY}.weight"]
    found = find_map(PACK, mine, HEADS)
    assert found.missing == [f"{QUERY}.weight"]
    assert found.copies == {f"{QUERY}.weight": f"{KEY}.weight"}
    assert found.unmatched == []
    assert found.entries[f"{KEY}.weight"]["from"] == f"{KEY}.weight"


def test_two_swapped_arrays_are_mapped_by_value_not_by_name() -> None:
    mine = dict(PACK)
    mine[f"{QUERY}.weight"], mine[f"{KEY}.weight"] = PACK[f"{KEY}.weight"], PACK[f"{QUERY}.weight"]
    assert find_map(PACK, mine, HEADS).entries[f"{QUERY}.weight"]["from"] == f"{KEY}.weight"


def test_a_wrong_part_of_a_fused_array_is_missing() -> None:
    pack = dict(PACK)
    pack[f"{VALUE}.weight"] = PACK[f"{VALUE}.weight"] + np.float32(0.01)
    found = find_map(pack, fused("block")(PACK), HEADS)
    assert found.missing == [f"{VALUE}.weight"]
    (unmatched,) = found.unmatched
    assert (unmatched["name"], unmatched["part"]) == (f"{QUERY}.weight".replace("query", "qkv"), 2)
    assert unmatched["nearest"] == f"{VALUE}.weight"
    assert unmatched["difference"] == pytest.approx(0.01, rel=1e-3)


def test_a_row_of_zeros_is_no_bias() -> None:
    """In an array that is none of the pack's."""
    types = "bert.embeddings.token_type_embeddings.weight"
    mine = untrained() | {types: np.array([range(WIDTH), [0] * WIDTH], np.float32)}
    found = find_map(untrained(), mine, HEADS)
    assert found.missing == [types]
    assert [one["name"] for one in found.unmatched] == [types]


def test_a_bias_that_is_zero_within_a_fused_one_is_found() -> None:
    """A key's bias has no gradient, and stays as it began."""
    pack = dict(PACK)
    for n in range(LAYERS):
        pack[f"bert.encoder.layer.{n}.attention.self.key.bias"] = np.zeros(WIDTH, np.float32)
    for way in ("block", "head"):
        found = find_map(pack, fused(way)(pack), HEADS)
        whole(found, fused(way)(pack), pack)
        gradients = found.apply(fused(way)(PACK))
        assert all(np.array_equal(gradients[name], PACK[name]) for name in PACK)


def test_tied_arrays_are_no_fault() -> None:
    words = "bert.embeddings.word_embeddings.weight"
    found = find_map(PACK, PACK | {"cls.predictions.decoder.weight": PACK[words]}, HEADS)
    assert found.entries[words]["from"] == words
    assert found.copies == {"cls.predictions.decoder.weight": words}


# Types.


def test_float64_is_compared_as_float32_and_kept() -> None:
    mine = {name: array.astype(np.float64) for name, array in PACK.items()}
    found = find_map(PACK, mine, HEADS)
    whole(found, mine)
    assert {array.dtype.name for array in found.apply(mine).values()} == {"float64"}


def test_float16_is_found_by_rounding() -> None:
    mine = {name: array.astype(np.float16).astype(np.float32) for name, array in google(PACK).items()}
    found = find_map(PACK, mine, HEADS)
    assert found.missing == found.unmatched == []
    assert {entry["note"].split(", ")[-1] for entry in found.entries.values()} == {"rounded to float16"}


def bfloat16(array: np.ndarray) -> np.ndarray:
    """Rounds float32 to bfloat16, to even, in float64."""
    exponent = np.floor(np.log2(np.abs(array.astype(np.float64))))
    unit = 2.0 ** (exponent - 7)
    return (np.round(array / unit) * unit).astype(np.float32)


def test_bfloat16_is_found_by_rounding() -> None:
    """LayerNorms may stay in float32, and a vocabulary may be padded."""
    mine = {name: array if "LayerNorm" in name else bfloat16(array) for name, array in google(PACK).items()}
    words = "bert/embeddings/word_embeddings"
    mine[words] = np.concatenate([mine[words], np.zeros((4, WIDTH), np.float32)])
    found = find_map(PACK, mine, HEADS)
    assert found.missing == found.unmatched == []
    assert found.entries["classifier.weight"]["note"] == "as it is, rounded to bfloat16"
    assert found.entries["bert.embeddings.LayerNorm.weight"]["note"] == "as it is"
    assert found.entries["bert.embeddings.word_embeddings.weight"]["note"].endswith("rounded to bfloat16")


def test_minus_zero_equals_zero() -> None:
    array = np.array([[0.0, 1, 2], [3, 4, 5]], np.float32)
    port = array.copy()
    port[0, 0] = -0.0
    assert find_map({"x": array}, {"y": port}, 1).missing == []


def test_nan_matches_nothing() -> None:
    array = np.arange(6, dtype=np.float32)
    assert find_map({"x": array}, {"y": array * np.nan}, 1).missing == ["x"]


def test_a_scalar_parameter_is_found() -> None:
    pack = {"temperature": np.array(0.5, np.float32), "x": np.arange(3, dtype=np.float32)}
    whole(
        find_map(pack, {"t": pack["temperature"], "y": pack["x"]}, 1), {"t": pack["temperature"], "y": pack["x"]}, pack
    )


# The map itself.


def test_a_map_applies_to_gradients_that_are_not_all_there() -> None:
    found = find_map(PACK, google(PACK), HEADS)
    assert list(found.apply({"output_bias": np.zeros(2)})) == ["classifier.bias"]


def test_a_gradient_of_another_shape_is_refused() -> None:
    found = find_map(PACK, keras_hub(PACK), HEADS)
    name = "transformer_layer_1/self_attention_layer/query/kernel"
    with pytest.raises(RecorderError, match=rf"{name}, the pack's {QUERY}.weight, has shape \[3\], which the map's"):
        found.apply({name: np.zeros(3)})


def test_a_map_of_a_newer_format_is_refused() -> None:
    with pytest.raises(RecorderError, match="the map has format 2, this recorder reads 1"):
        Map.from_json({"format": 2})


def test_entries_are_as_the_format_says() -> None:
    found = find_map(PACK, fused("head")(PACK), HEADS)
    assert found.entries[f"{KEY}.weight"] == {
        "from": f"{QUERY}.weight".replace("query", "qkv"),
        "split": [WIDTH, HEADS, 3, D],
        "take": [2, 1],
        "transpose": [1, 2, 0],
        "shape": [WIDTH, WIDTH],
        "note": f"part 2 of 3, as [{WIDTH}, {HEADS}, 3, {D}], transposed",
    }


def test_a_model_of_110_million_parameters_is_mapped() -> None:
    random = np.random.default_rng(0)
    pack = untrained(layers=12, width=768, feed_forward=3072)
    words = "bert.embeddings.word_embeddings.weight"
    pack[words] = random.standard_normal((30522, 768), np.float32)
    port = google(pack)
    found = find_map(pack, port, 12)
    assert found.missing == found.unmatched == []

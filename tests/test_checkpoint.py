"""Reading and writing of HuggingFace folders: config.json, weights, the head's first weights, saved folders, hashes."""

from __future__ import annotations

import json
import shutil
import struct
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file, save_file
from tokenizers import Tokenizer

from shared.architecture import Dropout, Weights
from shared.checkpoint.config import read_architecture
from shared.checkpoint.saved import Saved, is_saved, read_saved, write_folder
from shared.checkpoint.sources import resolve_model
from shared.checkpoint.weights import check_weights, checkpoint_hash, first_weights, saved_weights
from shared.encoding import encode, read_encoded
from shared.errors import InputError
from shared.recipe import Recipe
from shared.tasks import Rows
from tests.checkpoints import (
    BERT,
    BERT_SHAPES,
    DISTILBERT,
    PIECES,
    PRETRAINING_HEADS,
    PUBLISHED,
    RECIPE,
    assert_encoder,
    encoder,
    shard,
    write_checkpoint,
)


def read(folder: Path, recipe: Recipe = RECIPE) -> Weights:
    return first_weights(folder, read_architecture(folder, recipe, 3), recipe)


# --- config.json


@pytest.mark.parametrize(
    ("config", "field", "value", "attribute"),
    [
        (BERT, "vocab_size", 77, "vocab_size"),
        (BERT, "hidden_size", 16, "width"),
        (BERT, "num_hidden_layers", 5, "layers"),
        (BERT, "num_attention_heads", 3, "heads"),
        (BERT, "intermediate_size", 11, "feed_forward"),
        (BERT, "max_position_embeddings", 99, "max_positions"),
        (BERT, "type_vocab_size", 4, "type_vocab_size"),
        (BERT, "hidden_act", "relu", "activation"),
        (BERT, "hidden_act", "gelu_new", "activation"),
        (BERT, "layer_norm_eps", 1e-5, "layer_norm_eps"),
        (BERT, "initializer_range", 0.05, "initializer_range"),
        (BERT, "pad_token_id", 1, "pad_id"),
        (DISTILBERT, "vocab_size", 77, "vocab_size"),
        (DISTILBERT, "dim", 16, "width"),
        (DISTILBERT, "n_layers", 5, "layers"),
        (DISTILBERT, "n_heads", 3, "heads"),
        (DISTILBERT, "hidden_dim", 11, "feed_forward"),
        (DISTILBERT, "max_position_embeddings", 99, "max_positions"),
        (DISTILBERT, "activation", "relu", "activation"),
        (DISTILBERT, "pad_token_id", 1, "pad_id"),
    ],
)
def test_each_field_of_the_config_is_read(
    tmp_path: Path, config: dict[str, Any], field: str, value: Any, attribute: str
) -> None:
    folder = write_checkpoint(tmp_path / "m", config | {field: value})
    assert getattr(read_architecture(folder, RECIPE, 2), attribute) == value


def test_distilbert_has_no_token_types_and_a_fixed_epsilon(tmp_path: Path) -> None:
    architecture = read_architecture(write_checkpoint(tmp_path / "m", DISTILBERT), RECIPE, 2)
    assert architecture.type_vocab_size == 0
    assert architecture.layer_norm_eps == 1e-12


def test_the_number_of_labels_is_the_tasks(tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path / "m", BERT | {"id2label": {"0": "a", "1": "b"}})
    assert read_architecture(folder, RECIPE, 5).num_labels == 5


def test_gelu_pytorch_tanh_is_another_name_of_gelu_new(tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path / "m", BERT | {"hidden_act": "gelu_pytorch_tanh"})
    assert read_architecture(folder, RECIPE, 2).activation == "gelu_new"


@pytest.mark.parametrize(
    ("config", "recipe", "expected"),
    [
        (BERT, RECIPE, Dropout(0.25, 0.15, 0.25, 0.25, 0.25)),
        (BERT | {"classifier_dropout": None}, RECIPE, Dropout(0.25, 0.15, 0.25, 0.25, 0.25)),
        (BERT | {"classifier_dropout": 0.0}, RECIPE, Dropout(0.25, 0.15, 0.25, 0.25, 0.0)),
        (BERT, Recipe(max_len=8, dropout=0.5), Dropout(0.5, 0.5, 0.5, 0.5, 0.5)),
        (BERT, Recipe(max_len=8, dropout=0.0), Dropout(0.0, 0.0, 0.0, 0.0, 0.0)),
        (BERT | {"classifier_dropout": 0.4}, Recipe(max_len=8, dropout=0.5), Dropout(0.5, 0.5, 0.5, 0.5, 0.5)),
        (BERT, Recipe(max_len=8, head_dropout=0.0), Dropout(0.25, 0.15, 0.25, 0.25, 0.0)),
        (BERT, Recipe(max_len=8, dropout=0.5, head_dropout=0.3), Dropout(0.5, 0.5, 0.5, 0.5, 0.3)),
        (DISTILBERT, RECIPE, Dropout(0.25, 0.15, 0.0, 0.25, 0.35)),
        (DISTILBERT, Recipe(max_len=8, dropout=0.5), Dropout(0.5, 0.5, 0.0, 0.5, 0.5)),
        (DISTILBERT, Recipe(max_len=8, head_dropout=0.3), Dropout(0.25, 0.15, 0.0, 0.25, 0.3)),
    ],
)
def test_the_recipe_overrides_the_configs_dropout(
    tmp_path: Path, config: dict[str, Any], recipe: Recipe, expected: Dropout
) -> None:
    assert read_architecture(write_checkpoint(tmp_path / "m", config), recipe, 2).dropout == expected


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({"model_type": "bert"}, Dropout(0.1, 0.1, 0.1, 0.1, 0.1)),
        ({"model_type": "distilbert"}, Dropout(0.1, 0.1, 0.0, 0.1, 0.2)),
    ],
)
def test_missing_fields_have_the_defaults_of_transformers(
    tmp_path: Path, config: dict[str, Any], expected: Dropout
) -> None:
    folder = write_checkpoint(tmp_path / "m", config)
    architecture = read_architecture(folder, RECIPE, 2)
    assert architecture.dropout == expected
    assert (architecture.vocab_size, architecture.width, architecture.heads) == (30522, 768, 12)
    assert (architecture.activation, architecture.layer_norm_eps, architecture.pad_id) == ("gelu", 1e-12, 0)


@pytest.mark.parametrize(
    ("config", "field", "value"),
    [
        (BERT, "model_type", "roberta"),
        (BERT, "model_type", None),
        (BERT, "hidden_act", "silu"),
        (BERT, "hidden_act", ["gelu"]),
        (BERT, "position_embedding_type", "relative_key"),
        (BERT, "is_decoder", True),
        (BERT, "add_cross_attention", True),
        (BERT, "chunk_size_feed_forward", 64),
        (BERT, "pruned_heads", {"0": [1]}),
        (BERT, "quantization_config", {"quant_method": "bitsandbytes"}),
        (BERT, "num_hidden_layers", 0),
        (BERT, "hidden_size", "6"),
        (BERT, "vocab_size", None),
        (BERT, "layer_norm_eps", 0),
        (BERT, "hidden_dropout_prob", 1.0),
        (BERT, "classifier_dropout", -0.5),
        (BERT, "pad_token_id", 10),
        (BERT, "pad_token_id", -1),
        (DISTILBERT, "activation", "tanh"),
        (DISTILBERT, "attention_dropout", "0.1"),
    ],
)
def test_an_unsupported_value_is_refused_with_its_field(
    tmp_path: Path, config: dict[str, Any], field: str, value: Any
) -> None:
    folder = write_checkpoint(tmp_path / "m", config, {})
    (folder / "config.json").write_text(json.dumps(config | {field: value}))
    with pytest.raises(InputError) as refusal:
        read_architecture(folder, RECIPE, 2)
    assert f"{field} is {value!r}" in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_heads_that_do_not_divide_the_width_are_refused(tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path / "m", BERT | {"num_attention_heads": 4})
    with pytest.raises(InputError, match="4 heads do not divide a width of 6"):
        read_architecture(folder, RECIPE, 2)


def test_max_len_may_not_exceed_the_positions(tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path / "m", BERT)
    assert read_architecture(folder, Recipe(max_len=9), 2).max_positions == 9
    with pytest.raises(InputError, match=r"max_len is 10, .* has 9 positions"):
        read_architecture(folder, Recipe(max_len=10), 2)


@pytest.mark.parametrize("content", ["", "{", "[]", b"\xff\xfe"])
def test_a_broken_config_is_refused(tmp_path: Path, content: str | bytes) -> None:
    folder = write_checkpoint(tmp_path / "m", BERT)
    (folder / "config.json").write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(InputError, match=r"config\.json"):
        read_architecture(folder, RECIPE, 2)


def test_a_missing_config_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"config\.json is missing"):
        read_architecture(tmp_path, RECIPE, 2)


# --- weights


@pytest.mark.parametrize(
    ("config", "tensors"),
    [*PUBLISHED.values(), (DISTILBERT, encoder("distilbert") | PRETRAINING_HEADS["distilbert"])],
    ids=[*PUBLISHED, "distilbert without prefix"],
)
def test_the_names_of_published_checkpoints_are_read(tmp_path: Path, config: dict[str, Any], tensors: Weights) -> None:
    """With or without the model's prefix, with old names, pre-training heads and buffers."""
    assert_encoder(read(write_checkpoint(tmp_path / "m", config, tensors)), config["model_type"])


@pytest.mark.parametrize("config", [BERT, DISTILBERT])
def test_the_heads_of_another_task_are_not_taken(tmp_path: Path, config: dict[str, Any]) -> None:
    model_type = config["model_type"]
    tensors = encoder(model_type, f"{model_type}.") | {
        "classifier.weight": np.full((7, 6), 9, np.float32),
        "classifier.bias": np.full(7, 9, np.float32),
        "pre_classifier.weight": np.full((6, 6), 9, np.float32),
        "qa_outputs.weight": np.full((2, 6), 9, np.float32),
    }
    weights = read(write_checkpoint(tmp_path / "m", config, tensors))
    assert weights["classifier.weight"].shape == (3, 6)
    assert not any((array == 9).any() for array in weights.values())


@pytest.mark.parametrize("config", [BERT, DISTILBERT])
def test_weights_are_float32_in_the_order_of_the_shapes(tmp_path: Path, config: dict[str, Any]) -> None:
    """Their arrays can be written to."""
    folder = write_checkpoint(tmp_path / "m", config)
    weights = read(folder)
    shapes = read_architecture(folder, RECIPE, 3).shapes()
    assert [(name, array.shape) for name, array in weights.items()] == list(shapes.items())
    assert all(array.dtype == np.float32 and array.flags.writeable for array in weights.values())


@pytest.mark.parametrize("dtype", [np.float16, np.float64])
def test_other_floats_become_float32(tmp_path: Path, dtype: type) -> None:
    tensors: Weights = {name: array.astype(dtype) for name, array in encoder("bert").items()}
    weights = read(write_checkpoint(tmp_path / "m", BERT, tensors))
    for name, array in tensors.items():
        assert weights[f"bert.{name}"].dtype == np.float32
        np.testing.assert_array_equal(weights[f"bert.{name}"], array.astype(np.float32))


def test_bfloat16_becomes_float32(tmp_path: Path) -> None:
    # 7 bits after the point at most, which bfloat16 holds exactly: sign, the exponent + 127, then these bits.
    values = np.array([1.0, -2.5, 0.15625, -1.9921875, 2.0**-100, 0.0], np.float32)
    bits = [0x3F80, 0xC020, 0x3E20, 0xBFFF, 0x0D80, 0x0000]
    folder = write_checkpoint(tmp_path / "m", BERT)
    file = folder / "model.safetensors"
    tensors: dict[str, tuple[np.ndarray, str]] = {name: (array, "F32") for name, array in load_file(file).items()}
    tensors["pooler.dense.bias"] = (np.array(bits, "<u2"), "BF16")
    _write_raw(file, tensors)
    np.testing.assert_array_equal(read(folder)["bert.pooler.dense.bias"], values)


def _write_raw(file: Path, tensors: dict[str, tuple[np.ndarray, str]]) -> None:
    header: dict[str, Any] = {}
    data = b""
    for name, (array, dtype) in tensors.items():
        header[name] = {"dtype": dtype, "shape": array.shape, "data_offsets": [len(data), len(data) + array.nbytes]}
        data += array.tobytes()
    encoded = json.dumps(header).encode()
    file.write_bytes(struct.pack("<Q", len(encoded)) + encoded + data)


def test_weights_in_shards_are_read(tmp_path: Path) -> None:
    assert_encoder(read(shard(write_checkpoint(tmp_path / "m", BERT))), "bert")


def test_a_missing_shard_is_named(tmp_path: Path) -> None:
    folder = shard(write_checkpoint(tmp_path / "m", BERT))
    (folder / "model-00002-of-00002.safetensors").unlink()
    with pytest.raises(InputError, match="model-00002-of-00002"):
        read(folder)


def check(folder: Path, config: dict[str, Any] = BERT) -> None:
    check_weights(folder, read_architecture(folder, RECIPE, 2))


@pytest.mark.parametrize("name", list(BERT_SHAPES))
def test_any_missing_tensor_is_named(tmp_path: Path, name: str) -> None:
    tensors = encoder("bert")
    del tensors[name]
    with pytest.raises(InputError, match=f"lacks the weights bert.{name};"):
        check(write_checkpoint(tmp_path / "m", BERT, tensors))


def test_an_unknown_tensor_is_named(tmp_path: Path) -> None:
    tensors = encoder("bert", "bert.") | {"bert.encoder.layer.0.adapter.weight": np.ones(3, np.float32)}
    with pytest.raises(InputError, match=r"unknown weights: bert\.encoder\.layer\.0\.adapter\.weight;"):
        check(write_checkpoint(tmp_path / "m", BERT, tensors))


def test_a_layer_more_than_the_config_says_is_unknown(tmp_path: Path) -> None:
    tensors = encoder("bert")
    tensors |= {n.replace("layer.0", "layer.1"): array for n, array in tensors.items() if "layer.0" in n}
    with pytest.raises(InputError, match=r"encoder\.layer\.1\.\S+, .* and 13 more"):
        check(write_checkpoint(tmp_path / "m", BERT, tensors))


def test_a_wrong_shape_is_named_with_both_shapes(tmp_path: Path) -> None:
    tensors = encoder("bert") | {"pooler.dense.weight": np.ones((6, 5), np.float32)}
    with pytest.raises(InputError, match=r"pooler\.dense\.weight has shape \[6, 5\] where config.json says \[6, 6\]"):
        check(write_checkpoint(tmp_path / "m", BERT, tensors))


def test_one_parameter_under_two_names_is_refused(tmp_path: Path) -> None:
    tensors = encoder("bert") | {"bert.pooler.dense.bias": np.ones(6, np.float32)}
    with pytest.raises(InputError, match=r"pooler\.dense\.bias are the same parameter"):
        check(write_checkpoint(tmp_path / "m", BERT, tensors))


def test_weights_stored_as_integers_are_refused(tmp_path: Path) -> None:
    whole: Any = np.ones(6, np.int8)
    with pytest.raises(InputError, match=r"pooler\.dense\.bias is stored as I8"):
        check(write_checkpoint(tmp_path / "m", BERT, encoder("bert") | {"pooler.dense.bias": whole}))


@pytest.fixture(scope="module")
def whole_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_checkpoint(tmp_path_factory.mktemp("whole") / "m", BERT) / "model.safetensors"


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_file_cut_anywhere_is_refused(whole_file: Path, tmp_path: Path, data: st.DataObject) -> None:
    content = whole_file.read_bytes()
    folder = tmp_path / "cut"
    shutil.copytree(whole_file.parent, folder, dirs_exist_ok=True)
    (folder / "model.safetensors").write_bytes(content[: data.draw(st.integers(0, len(content) - 1))])
    with pytest.raises(InputError, match="fetch it again"):
        check(folder)


@pytest.mark.parametrize(
    "content",
    [
        struct.pack("<Q", 4) + b"nope",
        struct.pack("<Q", 2) + b"[]",
        struct.pack("<Q", 10) + b'{"a": "b"}',
        struct.pack("<Q", 18) + b'{"a": {"shape": 1}',
    ],
)
def test_a_file_that_is_no_safetensors_is_refused(tmp_path: Path, content: bytes) -> None:
    folder = write_checkpoint(tmp_path / "m", BERT)
    (folder / "model.safetensors").write_bytes(content)
    with pytest.raises(InputError, match="fetch it again"):
        check(folder)


def test_a_folder_without_weights_is_refused(tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path / "m", BERT)
    (folder / "model.safetensors").unlink()
    with pytest.raises(InputError, match=r"has no model\.safetensors"):
        check(folder)


# --- the head's first weights


def head(tmp_path: Path, config: dict[str, Any], recipe: Recipe) -> Weights:
    """The first head of a wide network, so that its distribution shows."""
    wide = config | {"hidden_size": 400, "dim": 400, "num_attention_heads": 4, "n_heads": 4, "vocab_size": 10}
    (tmp_path / "config.json").write_text(json.dumps(wide))
    architecture = read_architecture(tmp_path, recipe, 3)
    prefix = f"{architecture.model_type}."
    shapes = architecture.shapes().items()
    save_file({n: np.zeros(s, np.float32) for n, s in shapes if n.startswith(prefix)}, tmp_path / "model.safetensors")
    weights = first_weights(tmp_path, architecture, recipe)
    return {name: array for name, array in weights.items() if not name.startswith(prefix)}


def test_a_seed_gives_the_same_head_and_another_seed_another(tmp_path: Path) -> None:
    first, again, other = (head(tmp_path, BERT, Recipe(max_len=8, seed=seed)) for seed in (3, 3, 4))
    np.testing.assert_array_equal(first["classifier.weight"], again["classifier.weight"])
    assert (first["classifier.weight"] != other["classifier.weight"]).mean() > 0.99


@pytest.mark.parametrize(("config", "name"), [(BERT, "classifier"), (DISTILBERT, "pre_classifier")])
def test_a_normal_head_has_deviation_002_and_no_bias(tmp_path: Path, config: dict[str, Any], name: str) -> None:
    drawn = head(tmp_path, config, Recipe(max_len=8, head_init="normal"))
    weight = drawn[f"{name}.weight"]
    assert weight.std() == pytest.approx(0.02, rel=4 / np.sqrt(2 * weight.size))
    assert abs(weight.mean()) < 4 * 0.02 / np.sqrt(weight.size)
    assert np.abs(weight).max() > 0.02 * np.sqrt(3) * 1.2  # no uniform of this deviation reaches so far
    assert not drawn[f"{name}.bias"].any()
    assert not drawn["classifier.bias"].any()


@pytest.mark.parametrize(("config", "name"), [(BERT, "classifier"), (DISTILBERT, "pre_classifier")])
def test_a_uniform_head_is_within_its_bound(tmp_path: Path, config: dict[str, Any], name: str) -> None:
    """The bound is one over the root of the width."""
    drawn = head(tmp_path, config, Recipe(max_len=8, head_init="uniform"))
    bound = 1 / np.sqrt(400)
    for part in ("weight", "bias"):
        assert np.abs(drawn[f"{name}.{part}"]).max() <= bound
        assert drawn[f"{name}.{part}"].any()
    weight = drawn[f"{name}.weight"]
    assert np.abs(weight).max() > 0.99 * bound
    assert weight.std() == pytest.approx(bound / np.sqrt(3), rel=4 / np.sqrt(weight.size))


# --- a fine-tuned folder, written and read


@pytest.fixture(autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONCORD_CACHE", str(tmp_path_factory.mktemp("cache")))


def save(target: Path, source: Path, recipe: Recipe = RECIPE, max_len: int = 8) -> Weights:
    architecture = read_architecture(source, recipe, 3)
    weights = first_weights(source, architecture, recipe)
    weights = {name: array + np.float32(0.5) for name, array in weights.items()}
    write_folder(target, weights, architecture, source, "colours", ("red", "green", "blue"), max_len)
    return weights


@pytest.mark.parametrize("config", [BERT, DISTILBERT])
def test_what_is_written_is_read_again_head_included(tmp_path: Path, config: dict[str, Any]) -> None:
    source = write_checkpoint(tmp_path / "m", config)
    weights = save(tmp_path / "saved", source)
    architecture = read_architecture(tmp_path / "saved", RECIPE, 3)
    assert architecture == read_architecture(source, RECIPE, 3)
    again = saved_weights(tmp_path / "saved", architecture)
    assert list(again) == list(architecture.shapes())
    on_disk = load_file(tmp_path / "saved" / "model.safetensors")
    assert set(on_disk) == set(weights)
    for name, array in weights.items():
        np.testing.assert_array_equal(again[name], array)
        np.testing.assert_array_equal(on_disk[name], array)


def test_a_written_folder_names_task_labels_and_length(tmp_path: Path) -> None:
    save(tmp_path / "saved", write_checkpoint(tmp_path / "m", BERT), max_len=7)
    assert read_saved(tmp_path / "saved") == Saved("colours", ("red", "green", "blue"), 7)


def test_a_written_config_is_that_of_a_classifier(tmp_path: Path) -> None:
    save(tmp_path / "saved", write_checkpoint(tmp_path / "m", BERT), Recipe(max_len=8, dropout=0.5, head_dropout=0.3))
    config = json.loads((tmp_path / "saved" / "config.json").read_text())
    assert config["architectures"] == ["BertForSequenceClassification"]
    assert config["problem_type"] == "single_label_classification"
    assert config["id2label"] == {"0": "red", "1": "green", "2": "blue"}
    assert config["label2id"] == {"red": 0, "green": 1, "blue": 2}
    assert [config[f] for f in ("hidden_dropout_prob", "attention_probs_dropout_prob", "classifier_dropout")] == [
        0.5,
        0.5,
        0.3,
    ]
    assert config["layer_norm_eps"] == BERT["layer_norm_eps"]
    assert "torch_dtype" not in config  # the source's was float16; these weights are not


def test_a_written_distilbert_config_has_its_own_names(tmp_path: Path) -> None:
    source = write_checkpoint(tmp_path / "m", DISTILBERT)
    save(tmp_path / "saved", source, Recipe(max_len=8, dropout=0.5, head_dropout=0.3))
    config = json.loads((tmp_path / "saved" / "config.json").read_text())
    assert config["architectures"] == ["DistilBertForSequenceClassification"]
    assert [config[field] for field in ("dropout", "attention_dropout", "seq_classif_dropout")] == [0.5, 0.5, 0.3]
    assert "hidden_dropout_prob" not in config


def test_a_written_folder_without_its_head_is_refused(tmp_path: Path) -> None:
    source = write_checkpoint(tmp_path / "m", BERT)
    architecture = read_architecture(source, RECIPE, 2)
    check_weights(source, architecture)
    for reads_the_head in (saved_weights, partial(check_weights, head=True)):
        with pytest.raises(InputError, match=r"lacks the weights classifier\.weight, classifier\.bias of a classifier"):
            reads_the_head(source, architecture)


def test_a_folder_that_is_no_classifier_has_no_labels(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"not of a fine-tuned classifier \(architectures: BertForMaskedLM\)"):
        read_saved(write_checkpoint(tmp_path / "m", BERT))


def test_a_regression_is_no_classifier(tmp_path: Path) -> None:
    config = BERT | {"architectures": ["BertForSequenceClassification"], "problem_type": "regression"}
    with pytest.raises(InputError, match="problem_type is 'regression'"):
        read_saved(write_checkpoint(tmp_path / "m", config))


def test_without_a_bound_the_length_is_the_positions(tmp_path: Path) -> None:
    """The tokenizer has 10^30 for "no bound"."""
    config = BERT | {"architectures": ["BertForSequenceClassification"], "id2label": {"0": "no", "1": "yes"}}
    folder = write_checkpoint(tmp_path / "m", config)
    (folder / "tokenizer_config.json").write_text(json.dumps({"model_max_length": 10**30}))
    assert read_saved(folder) == Saved(None, ("no", "yes"), 9)


def test_without_a_bound_the_length_is_at_most_512(tmp_path: Path) -> None:
    config = BERT | {"architectures": ["BertForSequenceClassification"], "max_position_embeddings": 1024}
    assert read_saved(write_checkpoint(tmp_path / "m", config)).max_len == 512


def test_two_labels_of_one_name_are_refused(tmp_path: Path) -> None:
    config = BERT | {"architectures": ["BertForSequenceClassification"], "id2label": {"0": "no", "1": "no"}}
    with pytest.raises(InputError, match="gives two labels the same name"):
        read_saved(write_checkpoint(tmp_path / "m", config))


def with_tokenizer_json(folder: Path) -> Path:
    """Adds a tokenizer.json with truncation and padding baked in, as the published MiniLM has."""
    from tokenizers.implementations import BertWordPieceTokenizer

    tokenizer = BertWordPieceTokenizer(str(folder / "vocab.txt"))
    tokenizer.enable_truncation(5)
    tokenizer.enable_padding(length=5)
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder


def test_the_saved_tokenizer_neither_cuts_nor_pads_by_itself(tmp_path: Path) -> None:
    source = with_tokenizer_json(write_checkpoint(tmp_path / "m", BERT))
    assert len(Tokenizer.from_file(str(source / "tokenizer.json")).encode("a").ids) == 5
    save(tmp_path / "saved", source)
    tokenizer = Tokenizer.from_file(str(tmp_path / "saved" / "tokenizer.json"))
    assert tokenizer.encode("a").tokens == ["[CLS]", "a", "[SEP]"]
    assert len(tokenizer.encode("a " * 20).ids) == 22
    assert json.loads((tmp_path / "saved" / "tokenizer_config.json").read_text())["model_max_length"] == 8


@pytest.mark.parametrize("casing", [None, {"do_lower_case": False}, {"do_lower_case": True}])
@pytest.mark.parametrize("with_json", [True, False])
def test_the_saved_folder_encodes_as_its_source_does(
    tmp_path: Path, casing: dict[str, Any] | None, with_json: bool
) -> None:
    source = write_checkpoint(tmp_path / "m", BERT)
    if casing is not None:
        (source / "tokenizer_config.json").write_text(json.dumps(casing))
    if with_json:
        with_tokenizer_json(source)
    save(tmp_path / "saved", source)
    rows = {"test": Rows(["A ab", "b" * 9], ["Ba a b a b a", "b"], [0, 1])}
    before, after = (read_encoded(encode(rows, folder, 8, 0))["test"] for folder in (source, tmp_path / "saved"))
    np.testing.assert_array_equal(before.ids, after.ids)
    assert (PIECES.index("A") in after.ids) == (casing == {"do_lower_case": False})


def test_saving_again_replaces_the_model(tmp_path: Path) -> None:
    source = write_checkpoint(tmp_path / "m", BERT)
    save(tmp_path / "saved", source, max_len=7)
    (tmp_path / "saved" / "left_over").touch()
    save(tmp_path / "saved", source, max_len=8)
    assert read_saved(tmp_path / "saved").max_len == 8
    assert not (tmp_path / "saved" / "left_over").exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["m", "saved"]


def test_a_folder_that_holds_no_model_is_never_replaced(tmp_path: Path) -> None:
    source = write_checkpoint(tmp_path / "m", BERT)
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter").touch()
    with pytest.raises(InputError, match="exists and is no saved model"):
        save(tmp_path / "thesis", source)
    assert (tmp_path / "thesis" / "chapter").exists()


def test_a_failed_save_changes_nothing(tmp_path: Path) -> None:
    """The old model stays, and there is nothing half written."""
    source = write_checkpoint(tmp_path / "m", BERT)
    save(tmp_path / "saved", source)
    before = checkpoint_hash(tmp_path / "saved")
    (source / "vocab.txt").unlink()
    for target in (tmp_path / "saved", tmp_path / "new"):
        with pytest.raises(InputError, match=r"no tokenizer\.json and no vocab\.txt"):
            save(target, source)
    assert checkpoint_hash(tmp_path / "saved") == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["m", "saved"]


@pytest.mark.parametrize("file", ["config.json", "model.safetensors", "vocab.txt"])
def test_a_partial_folder_is_no_saved_model(tmp_path: Path, file: str) -> None:
    """An empty one is none either, and takes a model."""
    source, saved = write_checkpoint(tmp_path / "m", BERT), tmp_path / "saved"
    assert not is_saved(saved)
    saved.mkdir()
    assert not is_saved(saved)
    save(saved, source)
    assert is_saved(saved)
    assert not is_saved(source)
    content = (saved / file).read_bytes()
    for damage in (b"", content[: len(content) // 2]):
        (saved / file).write_bytes(damage)
        assert not is_saved(saved) or file == "vocab.txt"
    (saved / file).unlink()
    assert not is_saved(saved)


def test_a_model_whose_replacement_was_killed_is_there(tmp_path: Path) -> None:
    save(tmp_path / "saved", write_checkpoint(tmp_path / "m", BERT), max_len=7)
    before = checkpoint_hash(tmp_path / "saved")
    for look in (lambda: is_saved(tmp_path / "saved"), lambda: resolve_model(str(tmp_path / "saved"))):
        (tmp_path / "saved").rename(tmp_path / ".saved.old")
        assert look()
        assert checkpoint_hash(tmp_path / "saved") == before


# --- the hash


@pytest.mark.parametrize("file", ["config.json", "model.safetensors", "vocab.txt", "tokenizer_config.json"])
def test_the_hash_follows_every_file_that_a_run_takes(tmp_path: Path, file: str) -> None:
    folder = write_checkpoint(tmp_path / "m", BERT)
    (folder / "tokenizer_config.json").write_text("{}")
    before = checkpoint_hash(folder)
    with (folder / file).open("ab") as stream:
        stream.write(b"\n")
    assert checkpoint_hash(folder) != before


def test_the_hash_follows_neither_place_nor_other_files(tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path / "m", BERT)
    copy = shutil.copytree(folder, tmp_path / "elsewhere")
    (copy / "README.md").write_text("About this model.")
    assert checkpoint_hash(copy) == checkpoint_hash(folder)


def test_the_hash_follows_every_shard(tmp_path: Path) -> None:
    folder = shard(write_checkpoint(tmp_path / "m", BERT))
    before = checkpoint_hash(folder)
    with (folder / "model-00002-of-00002.safetensors").open("ab") as stream:
        stream.write(b"\n")
    assert checkpoint_hash(folder) != before

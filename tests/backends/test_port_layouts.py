"""The tables that shipped maps are tested with have the names and shapes of the libraries themselves."""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from recorder.concord_recorder import Pack, Recorder
from shared.contract import Load
from tests.packs import FEED_FORWARD, HEADS, LAYERS, POSITIONS, TOKENS, VOCABULARY, WIDTH, weights, write_pack
from tests.port_layouts import TABLES, as_framework

BACKEND = os.environ.get("CONCORD_TEST_BACKEND", "")


def keras_hub() -> Any:
    """A BertTextClassifier of the toy pack's sizes."""
    models = importlib.import_module("keras_hub").models
    backbone = models.BertBackbone(
        vocabulary_size=VOCABULARY,
        num_layers=LAYERS,
        num_heads=HEADS,
        hidden_dim=WIDTH,
        intermediate_dim=FEED_FORWARD,
        max_sequence_length=POSITIONS,
    )
    return models.BertTextClassifier(backbone=backbone, num_classes=2)


def gluonnlp() -> Any:
    """A BERTClassifier of the toy pack's sizes."""
    mx, nlp = importlib.import_module("mxnet"), importlib.import_module("gluonnlp")
    encoder = nlp.model.BERTEncoder(
        num_layers=LAYERS, units=WIDTH, hidden_size=FEED_FORWARD, max_length=POSITIONS, num_heads=HEADS
    )
    bert = nlp.model.BERTModel(
        encoder,
        vocab_size=VOCABULARY,
        token_type_vocab_size=2,
        units=WIDTH,
        embed_size=WIDTH,
        use_decoder=False,
        use_classifier=False,
    )
    model = nlp.model.BERTClassifier(bert, num_classes=2, dropout=0.1)
    model.initialize()
    ids = mx.nd.zeros((1, TOKENS))
    model(ids, ids, mx.nd.array([TOKENS]))  # gives the parameters their shapes
    return model


LIBRARIES: dict[str, tuple[str, Callable[[], Any]]] = {
    "keras": ("keras-hub", keras_hub),
    "gluon": ("gluonnlp", gluonnlp),
}
"""The map by backend, and what makes the library's model. keras-jax has the same library as keras."""

if BACKEND in LIBRARIES:

    def test_the_library_has_the_names_of_the_table(load: Load, tmp_path: Path) -> None:
        """As the recorder writes them."""
        name, model = LIBRARIES[BACKEND]
        pack, record = Pack(write_pack(tmp_path / "pack")), Recorder(tmp_path / "recording")
        record(pack.all_runs[0], parameters=model())
        with np.load(tmp_path / "recording" / "eval" / "0" / "parameters.npz") as file:
            shapes = {name: file[name].shape for name in file.files}
        table = as_framework(TABLES[name], weights(), LAYERS, HEADS)
        assert shapes == {name: array.shape for name, array in table.items()}

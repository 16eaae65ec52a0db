"""Names and layouts of BERT's parameters in other frameworks, by hand: theirs, the pack's, and how theirs lies.

T is [in, out], I [in, heads, head], H [heads, head], O [heads, head, out]. N is a layer's number.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from shared.architecture import Weights

GOOGLE = """
bert/embeddings/word_embeddings                       bert.embeddings.word_embeddings.weight
bert/embeddings/position_embeddings                   bert.embeddings.position_embeddings.weight
bert/embeddings/token_type_embeddings                 bert.embeddings.token_type_embeddings.weight
bert/embeddings/LayerNorm/gamma                       bert.embeddings.LayerNorm.weight
bert/embeddings/LayerNorm/beta                        bert.embeddings.LayerNorm.bias
bert/encoder/layer_N/attention/self/query/kernel      bert.encoder.layer.N.attention.self.query.weight        T
bert/encoder/layer_N/attention/self/query/bias        bert.encoder.layer.N.attention.self.query.bias
bert/encoder/layer_N/attention/self/key/kernel        bert.encoder.layer.N.attention.self.key.weight          T
bert/encoder/layer_N/attention/self/key/bias          bert.encoder.layer.N.attention.self.key.bias
bert/encoder/layer_N/attention/self/value/kernel      bert.encoder.layer.N.attention.self.value.weight        T
bert/encoder/layer_N/attention/self/value/bias        bert.encoder.layer.N.attention.self.value.bias
bert/encoder/layer_N/attention/output/dense/kernel    bert.encoder.layer.N.attention.output.dense.weight      T
bert/encoder/layer_N/attention/output/dense/bias      bert.encoder.layer.N.attention.output.dense.bias
bert/encoder/layer_N/attention/output/LayerNorm/gamma bert.encoder.layer.N.attention.output.LayerNorm.weight
bert/encoder/layer_N/attention/output/LayerNorm/beta  bert.encoder.layer.N.attention.output.LayerNorm.bias
bert/encoder/layer_N/intermediate/dense/kernel        bert.encoder.layer.N.intermediate.dense.weight          T
bert/encoder/layer_N/intermediate/dense/bias          bert.encoder.layer.N.intermediate.dense.bias
bert/encoder/layer_N/output/dense/kernel              bert.encoder.layer.N.output.dense.weight                T
bert/encoder/layer_N/output/dense/bias                bert.encoder.layer.N.output.dense.bias
bert/encoder/layer_N/output/LayerNorm/gamma           bert.encoder.layer.N.output.LayerNorm.weight
bert/encoder/layer_N/output/LayerNorm/beta            bert.encoder.layer.N.output.LayerNorm.bias
bert/pooler/dense/kernel                              bert.pooler.dense.weight                                T
bert/pooler/dense/bias                                bert.pooler.dense.bias
output_weights                                        classifier.weight
output_bias                                           classifier.bias
"""
"""google-research/bert: modeling.py and run_classifier.py."""

KERAS_HUB = """
token_embedding/embeddings                                       bert.embeddings.word_embeddings.weight
position_embedding/embeddings                                    bert.embeddings.position_embeddings.weight
segment_embedding/embeddings                                     bert.embeddings.token_type_embeddings.weight
embeddings_layer_norm/gamma                                      bert.embeddings.LayerNorm.weight
embeddings_layer_norm/beta                                       bert.embeddings.LayerNorm.bias
transformer_layer_N/self_attention_layer/query/kernel            bert.encoder.layer.N.attention.self.query.weight   I
transformer_layer_N/self_attention_layer/query/bias              bert.encoder.layer.N.attention.self.query.bias     H
transformer_layer_N/self_attention_layer/key/kernel              bert.encoder.layer.N.attention.self.key.weight     I
transformer_layer_N/self_attention_layer/key/bias                bert.encoder.layer.N.attention.self.key.bias       H
transformer_layer_N/self_attention_layer/value/kernel            bert.encoder.layer.N.attention.self.value.weight   I
transformer_layer_N/self_attention_layer/value/bias              bert.encoder.layer.N.attention.self.value.bias     H
transformer_layer_N/self_attention_layer/attention_output/kernel bert.encoder.layer.N.attention.output.dense.weight O
transformer_layer_N/self_attention_layer/attention_output/bias   bert.encoder.layer.N.attention.output.dense.bias
transformer_layer_N/self_attention_layer_norm/gamma              bert.encoder.layer.N.attention.output.LayerNorm.weight
transformer_layer_N/self_attention_layer_norm/beta               bert.encoder.layer.N.attention.output.LayerNorm.bias
transformer_layer_N/feedforward_layer_norm/gamma                 bert.encoder.layer.N.output.LayerNorm.weight
transformer_layer_N/feedforward_layer_norm/beta                  bert.encoder.layer.N.output.LayerNorm.bias
transformer_layer_N/feedforward_intermediate_dense/kernel        bert.encoder.layer.N.intermediate.dense.weight     T
transformer_layer_N/feedforward_intermediate_dense/bias          bert.encoder.layer.N.intermediate.dense.bias
transformer_layer_N/feedforward_output_dense/kernel              bert.encoder.layer.N.output.dense.weight           T
transformer_layer_N/feedforward_output_dense/bias                bert.encoder.layer.N.output.dense.bias
pooled_dense/kernel                                              bert.pooler.dense.weight                           T
pooled_dense/bias                                                bert.pooler.dense.bias
logits/kernel                                                    classifier.weight                                  T
logits/bias                                                      classifier.bias
"""
"""keras-hub 0.32, BertTextClassifier: `path` of each weight."""

FLAX = """
bert/embeddings/word_embeddings/embedding             bert.embeddings.word_embeddings.weight
bert/embeddings/position_embeddings/embedding         bert.embeddings.position_embeddings.weight
bert/embeddings/token_type_embeddings/embedding       bert.embeddings.token_type_embeddings.weight
bert/embeddings/LayerNorm/scale                       bert.embeddings.LayerNorm.weight
bert/embeddings/LayerNorm/bias                        bert.embeddings.LayerNorm.bias
bert/encoder/layer/N/attention/self/query/kernel      bert.encoder.layer.N.attention.self.query.weight        T
bert/encoder/layer/N/attention/self/query/bias        bert.encoder.layer.N.attention.self.query.bias
bert/encoder/layer/N/attention/self/key/kernel        bert.encoder.layer.N.attention.self.key.weight          T
bert/encoder/layer/N/attention/self/key/bias          bert.encoder.layer.N.attention.self.key.bias
bert/encoder/layer/N/attention/self/value/kernel      bert.encoder.layer.N.attention.self.value.weight        T
bert/encoder/layer/N/attention/self/value/bias        bert.encoder.layer.N.attention.self.value.bias
bert/encoder/layer/N/attention/output/dense/kernel    bert.encoder.layer.N.attention.output.dense.weight      T
bert/encoder/layer/N/attention/output/dense/bias      bert.encoder.layer.N.attention.output.dense.bias
bert/encoder/layer/N/attention/output/LayerNorm/scale bert.encoder.layer.N.attention.output.LayerNorm.weight
bert/encoder/layer/N/attention/output/LayerNorm/bias  bert.encoder.layer.N.attention.output.LayerNorm.bias
bert/encoder/layer/N/intermediate/dense/kernel        bert.encoder.layer.N.intermediate.dense.weight          T
bert/encoder/layer/N/intermediate/dense/bias          bert.encoder.layer.N.intermediate.dense.bias
bert/encoder/layer/N/output/dense/kernel              bert.encoder.layer.N.output.dense.weight                T
bert/encoder/layer/N/output/dense/bias                bert.encoder.layer.N.output.dense.bias
bert/encoder/layer/N/output/LayerNorm/scale           bert.encoder.layer.N.output.LayerNorm.weight
bert/encoder/layer/N/output/LayerNorm/bias            bert.encoder.layer.N.output.LayerNorm.bias
bert/pooler/dense/kernel                              bert.pooler.dense.weight                                T
bert/pooler/dense/bias                                bert.pooler.dense.bias
classifier/kernel                                     classifier.weight                                       T
classifier/bias                                       classifier.bias
"""
"""transformers 4.46, FlaxBertForSequenceClassification."""

PADDLENLP = """
bert.embeddings.word_embeddings.weight                bert.embeddings.word_embeddings.weight
bert.embeddings.position_embeddings.weight            bert.embeddings.position_embeddings.weight
bert.embeddings.token_type_embeddings.weight          bert.embeddings.token_type_embeddings.weight
bert.embeddings.layer_norm.weight                     bert.embeddings.LayerNorm.weight
bert.embeddings.layer_norm.bias                       bert.embeddings.LayerNorm.bias
bert.encoder.layers.N.self_attn.q_proj.weight         bert.encoder.layer.N.attention.self.query.weight        T
bert.encoder.layers.N.self_attn.q_proj.bias           bert.encoder.layer.N.attention.self.query.bias
bert.encoder.layers.N.self_attn.k_proj.weight         bert.encoder.layer.N.attention.self.key.weight          T
bert.encoder.layers.N.self_attn.k_proj.bias           bert.encoder.layer.N.attention.self.key.bias
bert.encoder.layers.N.self_attn.v_proj.weight         bert.encoder.layer.N.attention.self.value.weight        T
bert.encoder.layers.N.self_attn.v_proj.bias           bert.encoder.layer.N.attention.self.value.bias
bert.encoder.layers.N.self_attn.out_proj.weight       bert.encoder.layer.N.attention.output.dense.weight      T
bert.encoder.layers.N.self_attn.out_proj.bias         bert.encoder.layer.N.attention.output.dense.bias
bert.encoder.layers.N.linear1.weight                  bert.encoder.layer.N.intermediate.dense.weight          T
bert.encoder.layers.N.linear1.bias                    bert.encoder.layer.N.intermediate.dense.bias
bert.encoder.layers.N.linear2.weight                  bert.encoder.layer.N.output.dense.weight                T
bert.encoder.layers.N.linear2.bias                    bert.encoder.layer.N.output.dense.bias
bert.encoder.layers.N.norm1.weight                    bert.encoder.layer.N.attention.output.LayerNorm.weight
bert.encoder.layers.N.norm1.bias                      bert.encoder.layer.N.attention.output.LayerNorm.bias
bert.encoder.layers.N.norm2.weight                    bert.encoder.layer.N.output.LayerNorm.weight
bert.encoder.layers.N.norm2.bias                      bert.encoder.layer.N.output.LayerNorm.bias
bert.pooler.dense.weight                              bert.pooler.dense.weight                                T
bert.pooler.dense.bias                                bert.pooler.dense.bias
classifier.weight                                     classifier.weight                                       T
classifier.bias                                       classifier.bias
"""
"""PaddleNLP 2.8, BertForSequenceClassification."""

GLUONNLP = """
bert.word_embed.0.weight                                         bert.embeddings.word_embeddings.weight
bert.encoder.position_weight                                     bert.embeddings.position_embeddings.weight
bert.token_type_embed.0.weight                                   bert.embeddings.token_type_embeddings.weight
bert.encoder.layer_norm.gamma                                    bert.embeddings.LayerNorm.weight
bert.encoder.layer_norm.beta                                     bert.embeddings.LayerNorm.bias
bert.encoder.transformer_cells.N.attention_cell.proj_query.weight bert.encoder.layer.N.attention.self.query.weight
bert.encoder.transformer_cells.N.attention_cell.proj_query.bias  bert.encoder.layer.N.attention.self.query.bias
bert.encoder.transformer_cells.N.attention_cell.proj_key.weight  bert.encoder.layer.N.attention.self.key.weight
bert.encoder.transformer_cells.N.attention_cell.proj_key.bias    bert.encoder.layer.N.attention.self.key.bias
bert.encoder.transformer_cells.N.attention_cell.proj_value.weight bert.encoder.layer.N.attention.self.value.weight
bert.encoder.transformer_cells.N.attention_cell.proj_value.bias  bert.encoder.layer.N.attention.self.value.bias
bert.encoder.transformer_cells.N.proj.weight                     bert.encoder.layer.N.attention.output.dense.weight
bert.encoder.transformer_cells.N.proj.bias                       bert.encoder.layer.N.attention.output.dense.bias
bert.encoder.transformer_cells.N.layer_norm.gamma                bert.encoder.layer.N.attention.output.LayerNorm.weight
bert.encoder.transformer_cells.N.layer_norm.beta                 bert.encoder.layer.N.attention.output.LayerNorm.bias
bert.encoder.transformer_cells.N.ffn.ffn_1.weight                bert.encoder.layer.N.intermediate.dense.weight
bert.encoder.transformer_cells.N.ffn.ffn_1.bias                  bert.encoder.layer.N.intermediate.dense.bias
bert.encoder.transformer_cells.N.ffn.ffn_2.weight                bert.encoder.layer.N.output.dense.weight
bert.encoder.transformer_cells.N.ffn.ffn_2.bias                  bert.encoder.layer.N.output.dense.bias
bert.encoder.transformer_cells.N.ffn.layer_norm.gamma            bert.encoder.layer.N.output.LayerNorm.weight
bert.encoder.transformer_cells.N.ffn.layer_norm.beta             bert.encoder.layer.N.output.LayerNorm.bias
bert.pooler.weight                                               bert.pooler.dense.weight
bert.pooler.bias                                                 bert.pooler.dense.bias
classifier.1.weight                                              classifier.weight
classifier.1.bias                                                classifier.bias
"""
"""GluonNLP 0.10, BERTClassifier with dropout: structural names."""

TABLES = {"google": GOOGLE, "keras-hub": KERAS_HUB, "flax": FLAX, "paddlenlp": PADDLENLP, "gluonnlp": GLUONNLP}
"""Layouts by the name of the shipped map."""

LAYOUTS: dict[str, Callable[[np.ndarray, int], np.ndarray]] = {
    "": lambda array, heads: array,
    "T": lambda array, heads: array.T,
    "I": lambda array, heads: array.T.reshape(array.shape[1], heads, -1),
    "H": lambda array, heads: array.reshape(heads, -1),
    "O": lambda array, heads: array.T.reshape(heads, -1, array.shape[0]),
}


def as_framework(table: str, pack: Weights, layers: int, heads: int) -> Weights:
    """The pack's parameters under a framework's names and in its layouts."""
    port: Weights = {}
    for line in table.strip().splitlines():
        theirs, ours, *layout = line.split()
        for n in range(layers if "N" in theirs.replace("Norm", "") else 1):
            array = pack[ours.replace(".N.", f".{n}.")]
            port[_numbered(theirs, n)] = LAYOUTS["".join(layout)](array, heads)
    assert len(port) == len(pack)
    return port


def _numbered(name: str, n: int) -> str:
    return name.replace("layer_N/", f"layer_{n}/").replace("/N/", f"/{n}/").replace(".N.", f".{n}.")

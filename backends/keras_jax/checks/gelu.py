import os

os.environ["KERAS_BACKEND"] = "jax"
import keras
import keras_hub
import numpy as np

sizes = {"vocabulary_size": 8, "num_layers": 1, "num_heads": 1, "hidden_dim": 2, "intermediate_dim": 2}
x = np.linspace(-3, 3, 13, dtype="float32")
stock = keras_hub.models.BertBackbone(**sizes).transformer_layers[0]._feedforward_intermediate_dense.activation(x)
print(np.abs(stock - keras.activations.gelu(x, approximate=False)).max())
assert np.abs(stock - keras.activations.gelu(x, approximate=True)).max() == 0

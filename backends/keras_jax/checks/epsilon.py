import inspect
import os

os.environ["KERAS_BACKEND"] = "jax"
import keras_hub

sizes = {"vocabulary_size": 8, "num_layers": 1, "num_heads": 1, "hidden_dim": 2, "intermediate_dim": 2}
print(keras_hub.models.BertBackbone(**sizes).embeddings_layer_norm.epsilon)
assert "epsilon" not in str(inspect.signature(keras_hub.models.BertBackbone.__init__))

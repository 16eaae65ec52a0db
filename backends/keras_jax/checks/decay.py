import os

os.environ["KERAS_BACKEND"] = "jax"
import jax.numpy as jnp
import keras

bias = keras.Variable(jnp.ones(1), name="bias")
keras.optimizers.AdamW(learning_rate=0.1, weight_decay=0.1).apply([jnp.zeros(1)], [bias])
print(bias.numpy())
assert abs(bias.numpy()[0] - 0.99) < 1e-6

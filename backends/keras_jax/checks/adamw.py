import os

os.environ["KERAS_BACKEND"] = "jax"
import jax.numpy as jnp
import keras

weight = keras.Variable(jnp.zeros(1))
keras.optimizers.AdamW(learning_rate=1.0, weight_decay=0.0, epsilon=1e-3).apply([jnp.array([1e-2])], [weight])
after, before = 1e-2 / (1e-2 + 1e-3), 1e-2 / (1e-2 + 1e-3 / 0.001**0.5)
print(-weight.numpy()[0], after, before)  # torch's is the first
assert abs(-weight.numpy()[0] - before) < 1e-4

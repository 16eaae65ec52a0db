import os

os.environ["KERAS_BACKEND"] = "jax"
import jax
import jax.numpy as jnp
import keras

table = keras.Variable(jnp.zeros((4, 1)))
gradient = jax.grad(lambda table: table[jnp.zeros(9, int)].sum())(table.value)  # a token that stands nine times: norm 9
keras.optimizers.SGD(learning_rate=1.0, global_clipnorm=1.0).apply([gradient], [table])
print(table.numpy()[0])  # clipped to norm 1, as in torch; on TensorFlow -3
assert abs(table.numpy()[0, 0] + 1) < 1e-5

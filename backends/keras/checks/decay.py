import keras
import tensorflow as tf

bias = keras.Variable(tf.ones(1), name="bias")
keras.optimizers.AdamW(learning_rate=0.1, weight_decay=0.1).apply([tf.zeros(1)], [bias])
print(bias.numpy())
assert abs(bias.numpy()[0] - 0.99) < 1e-6

import keras
import tensorflow as tf

table = keras.Variable(tf.zeros((4, 1)))
by_row = tf.IndexedSlices(tf.ones((9, 1)), tf.zeros(9, tf.int32), (4, 1))  # a token that stands nine times: norm 9
optimizer = keras.optimizers.SGD(learning_rate=1.0, global_clipnorm=1.0)
optimizer.apply([by_row], [table])
print(table.numpy()[0])  # clipped to norm 1, it would be -1
assert abs(table.numpy()[0, 0] + 3) < 1e-5

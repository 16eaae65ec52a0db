import keras
import tensorflow as tf

by_row = tf.IndexedSlices(tf.ones((9, 1)), tf.zeros(9, tf.int32), (4, 1))  # a token that stands nine times: sum 9
moments = []
for gradient in (by_row, tf.convert_to_tensor(by_row)):
    optimizer = keras.optimizers.AdamW()
    optimizer.apply([gradient], [keras.Variable(tf.zeros((4, 1)))])
    moments.append(optimizer._velocities[0].numpy()[0, 0])
print(moments)
assert abs(moments[1] / moments[0] - 9) < 1e-3

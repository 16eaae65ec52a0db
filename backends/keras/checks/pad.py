import tensorflow as tf

table = tf.Variable(tf.ones((4, 2)))
with tf.GradientTape() as tape:
    total = tf.reduce_sum(tf.gather(table, [0, 1]))
gradient = tf.convert_to_tensor(tape.gradient(total, table))
print(gradient[0])  # torch.nn.Embedding(4, 2, padding_idx=0) has zeros here
assert tf.reduce_sum(gradient[0]) == 2

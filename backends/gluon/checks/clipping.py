import mxnet as mx
import numpy as np

gradient = np.random.RandomState(0).normal(size=10_000_000).astype("float32")
exact = np.sqrt(np.square(gradient.astype("float64")).sum())
stock = mx.nd.multi_sum_sq(mx.nd.array(gradient), num_arrays=1)[0].sqrt().asscalar()
dot = mx.nd.dot(mx.nd.array(gradient), mx.nd.array(gradient)).sqrt().asscalar()
print(abs(stock - exact) / exact, abs(dot - exact) / exact)
assert abs(stock - exact) > 10 * abs(dot - exact)

import gluonnlp  # noqa: F401  registers bertadam
import mxnet as mx

weight, gradient = mx.nd.zeros(1), mx.nd.ones(1)
optimizer = mx.optimizer.create("bertadam", learning_rate=0.001, epsilon=1e-8)
optimizer.update(0, weight, gradient, optimizer.create_state(0, weight))
print(weight.asscalar())  # corrected, Adam's first step is the rate: -0.001
assert abs(weight.asscalar() + 0.001 * 0.1 / 0.001**0.5) < 1e-7

import mxnet as mx

weight, gradient = mx.nd.ones(1), mx.nd.zeros(1)
optimizer = mx.optimizer.create("adam", learning_rate=0.001, wd=0.01)
optimizer.update(0, weight, gradient, optimizer.create_state(0, weight))
print(weight.asscalar())  # decoupled, decay alone moves it to 1 - 0.001 * 0.01
assert abs(weight.asscalar() - 0.999) < 1e-6

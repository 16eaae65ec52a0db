import mxnet as mx

embedding = mx.gluon.nn.Embedding(4, 2)
embedding.initialize()
with mx.autograd.record():
    total = embedding(mx.nd.array([0, 1])).sum()
total.backward()
print(embedding.weight.grad()[0])  # torch.nn.Embedding(4, 2, padding_idx=0) has zeros here
assert embedding.weight.grad()[0].sum().asscalar() == 2

import mxnet as mx
from gluonnlp.model import BERTEncoder

encoder = BERTEncoder(num_layers=1, units=64, hidden_size=8, num_heads=2, max_length=8, dropout=0.5)
encoder.initialize()
embeddings = []
encoder.layer_norm.register_forward_hook(lambda block, inputs, output: embeddings.append(output))
with mx.autograd.train_mode():
    encoder(mx.nd.ones((8, 4, 64)))
print((embeddings[0] == 0).mean().asscalar())  # 0.5 where dropout comes after LayerNorm
assert (embeddings[0] == 0).sum().asscalar() == 0

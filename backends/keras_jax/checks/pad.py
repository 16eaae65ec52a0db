import jax
import jax.numpy as jnp

table = jnp.ones((4, 2))
gradient = jax.grad(lambda table: table[jnp.array([0, 1])].sum())(table)
print(gradient[0])  # torch.nn.Embedding(4, 2, padding_idx=0) has zeros here
assert gradient[0].sum() == 2

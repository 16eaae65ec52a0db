"""Keras on JAX. Sets what both libraries read while they are imported."""

import os

os.environ["KERAS_BACKEND"] = "jax"  # overrides Keras's own settings file
# Else JAX takes most of a GPU's memory at once, and no peak could be told.
os.environ["XLA_PYTHON_CLIENT_PREALLOCATE"] = "false"

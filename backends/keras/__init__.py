"""TensorFlow with Keras and keras-hub."""

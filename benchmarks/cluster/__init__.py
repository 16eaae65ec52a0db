"""A sweep on a Ray cluster: `--engine ray`. Only this package imports Ray."""

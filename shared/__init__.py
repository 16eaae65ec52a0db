"""Tasks, data, recipes and the training loop, common to all backends. Imports no framework."""

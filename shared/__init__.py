"""The common task, data and recipe interface. Imports no framework: numpy, at heart."""

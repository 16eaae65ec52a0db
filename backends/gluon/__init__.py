"""MXNet with GluonNLP."""

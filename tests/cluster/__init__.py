"""Tests of a sweep on a Ray cluster: nodes are processes of this machine."""

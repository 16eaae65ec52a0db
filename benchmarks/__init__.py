"""Commands that people type: `python -m benchmarks.run`, `python -m benchmarks.report`."""

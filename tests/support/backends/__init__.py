"""The real programs behind the worker: one module for each."""

"""What the instrumentation costs: `python -m benchmarks`, explained in docs/benchmarks.md."""

"""The version, read by the build and by `otel_taskqueue.__version__`; the only place that names it."""

__version__ = "0.1.0.dev0"

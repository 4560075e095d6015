"""From a child to the worker's parent: finished telemetry as plain tuples over two lanes (D5)."""

"""What the tests of Prometheus' rules share."""

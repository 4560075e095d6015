"""Grafana dashboards as code: `python -m monitoring.grafana` writes the JSON that is committed beside it."""

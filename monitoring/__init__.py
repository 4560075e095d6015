"""What watches task queues: rules for Prometheus, routes for Alertmanager, dashboards for Grafana."""

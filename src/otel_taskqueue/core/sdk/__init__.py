"""What touches the OpenTelemetry SDK: finding providers, the child after a fork, the bounded flush."""

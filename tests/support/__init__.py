"""What the tests stand on: real servers, real processes, an OTLP receiver."""

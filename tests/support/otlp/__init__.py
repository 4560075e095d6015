"""An OTLP receiver in this process: what arrived, as plain values."""

from support.otlp.behaviour import Behaviour
from support.otlp.model import Event, Link, LogLine, MetricPoint, Resource, Span
from support.otlp.receiver import Receiver

__all__ = ["Behaviour", "Event", "Link", "LogLine", "MetricPoint", "Receiver", "Resource", "Span"]

"""What servers and clients do, as numbers over time."""

from hermes.aeriel.monitor.metrics import Counters, parse_metrics
from hermes.aeriel.monitor.monitor import ServerMonitor
from hermes.aeriel.monitor.rows import Row, read_rows
from hermes.aeriel.monitor.targets import Target

__all__ = ["Counters", "Row", "ServerMonitor", "Target", "parse_metrics", "read_rows"]

"""What the bus tells Prometheus."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram


class BusMetrics:
    """One per process, in the registry of its context."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.records = Counter("percorso_bus_records", "Records worked on", ["stage", "topic"], registry=registry)
        self.batches = Counter("percorso_bus_batches", "Units of work committed", ["stage", "topic"], registry=registry)
        self.published = Counter("percorso_bus_published", "Records written to the bus", ["topic"], registry=registry)
        self.retries = Counter("percorso_bus_retries", "Attempts that failed for a passing reason", ["stage"],
                               registry=registry)
        self.set_aside = Counter("percorso_bus_set_aside", "Records put into quarantine", ["stage"], registry=registry)
        self.repeated = Counter("percorso_bus_repeated", "Records dropped because they had been seen", ["stage"],
                                registry=registry)
        self.lag = Gauge("percorso_bus_lag_records", "Records not yet worked on", ["stage", "topic"], registry=registry)
        self.seconds = Histogram("percorso_bus_unit_of_work_seconds", "From BEGIN to COMMIT", ["stage"],
                                 buckets=(.002, .005, .01, .02, .05, .1, .2, .5, 1, 2, 5), registry=registry)
        self.clock_lag = Gauge("percorso_stream_clock_lag_seconds", "How far the stream clock is behind now", ["stage"],
                               registry=registry)

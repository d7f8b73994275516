"""What delivery counts."""

from prometheus_client import CollectorRegistry, Counter, Gauge


class Metrics:
    """One per process."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.settled = Counter("percorso_sends_settled", "Sends that reached an end.", ("channel", "state"),
                               registry=registry)
        self.stopped = Counter("percorso_sends_stopped", "Claimed sends that a gate stopped.", ("channel", "gate"),
                               registry=registry)
        self.later = Counter("percorso_sends_tried_again", "Tries that did not get through and will be repeated.",
                             ("channel",), registry=registry)
        self.expired = Counter("percorso_sends_lease_expired", "Leases that ended before the send was settled.",
                               ("channel", "state"), registry=registry)
        self.server_down = Gauge("percorso_mail_server_down", "1 while the mail server takes no connection.",
                                 registry=registry)

"""The processes, by folder name: one name serves as folder, compose service, consumer group and telemetry name."""

PORTS = ("ingest_api", "profile_api", "console")
WORKERS = ("identity_worker", "profile_worker", "orchestrator_worker", "delivery_worker")
PROCESSES = PORTS + WORKERS

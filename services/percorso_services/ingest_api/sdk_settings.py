"""Answers that SDKs need at their start, in the form with which real ones were seen to work."""

from typing import Any

from percorso_ingest.source import Source


def segment_settings(write_key: str, api_host: str, protocol: str) -> dict[str, Any]:
    """`GET /v1/projects/{key}/settings` of analytics-next."""
    return {
        "integrations": {"Segment.io": {
            "apiKey": write_key, "apiHost": api_host, "protocol": protocol, "unbundledIntegrations": [],
            "addBundledMetadata": True,
            "versionSettings": {"version": "4.4.7", "componentTypes": ["browser"]}}},
        "plan": {"track": {"__default": {"enabled": True, "integrations": {}}},
                 "identify": {"__default": {"enabled": True}}, "group": {"__default": {"enabled": True}}},
        "edgeFunction": {}, "analyticsNextEnabled": True, "middlewareSettings": {}, "enabledMiddleware": {},
        "metrics": {"sampleRate": 0}, "legacyVideoPluginsEnabled": False, "remotePlugins": []}


def rudder_source_config(source: Source, origin: str) -> dict[str, Any]:
    """`GET /sourceConfig/` of RudderStack's SDKs."""
    return {
        "source": {
            "id": source.name, "name": source.name, "writeKey": source.write_key, "enabled": True,
            "workspaceId": str(source.workspace), "destinations": [],
            "config": {"statsCollection": {"errors": {"enabled": False}, "metrics": {"enabled": False}}},
            "connections": [], "sourceDefinition": {"name": "Javascript"}, "dataplanes": {},
            "dataPlaneUrl": origin},
        "isHosted": False}

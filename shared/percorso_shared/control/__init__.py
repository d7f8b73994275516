"""The control plane: workspaces, keys of the query API, visits to the console. Owns the schema `console`."""

WORKSPACE = 1
"""The one workspace of an installation for now; made by the first migration."""

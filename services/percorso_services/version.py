"""Which Percorso this is."""

from importlib.metadata import version as installed_version

VERSION = installed_version("percorso")

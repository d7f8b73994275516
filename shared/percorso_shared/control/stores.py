"""The control plane keeps nothing of the people that touchpoints are about."""

from collections.abc import Mapping, Sequence

from percorso_shared.stores import Store

STORES: Sequence[Store] = ()
WITHOUT_PERSONAL_DATA: Mapping[str, str] = {
    "console.workspace": "names of workspaces",
    "console.api_key": "hashes of keys",
    "console.first_visit": "hashes of one-time links",
    "console.session": "hashes of sessions of operators",
}

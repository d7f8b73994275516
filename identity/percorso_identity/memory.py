"""What a process remembers of links, so that it need not ask again.

That a link exists never changes. Its first times only fall, so a remembered one can only be too late, which costs a
question. Home and profile are hints: who needs certainty reads the pointer. That a weak id got slices is announced by
the workspace's epoch: with another epoch everything remembered is forgotten.
"""

from collections.abc import Iterable, Mapping

from percorso_identity.postgres import KnownLink


class Memory:
    """At most twice `most` links per workspace, about 400 bytes each."""

    def __init__(self, most: int = 50_000) -> None:
        self._most = most
        self._epochs: dict[int, int] = {}
        self._young: dict[int, dict[bytes, KnownLink]] = {}
        self._old: dict[int, dict[bytes, KnownLink]] = {}

    def recall(self, workspace: int, epoch: int, links: Iterable[bytes]) -> dict[bytes, KnownLink]:
        """Those of `links` that are remembered."""
        if self._epochs.get(workspace) != epoch:
            self._epochs[workspace] = epoch
            self._young[workspace], self._old[workspace] = {}, {}
        young, old = self._young[workspace], self._old[workspace]
        found: dict[bytes, KnownLink] = {}
        for link in links:
            entry = young.get(link)
            if entry is None:
                entry = old.get(link)
                if entry is None:
                    continue
                young[link] = entry
            found[link] = entry
        return found

    def learn(self, workspace: int, epoch: int, links: Mapping[bytes, KnownLink]) -> None:
        """Only what is committed, read in a transaction that began at `epoch`."""
        if self._epochs.get(workspace) != epoch:
            return
        young = self._young[workspace]
        young.update(links)
        if len(young) > self._most:
            self._old[workspace], self._young[workspace] = young, {}

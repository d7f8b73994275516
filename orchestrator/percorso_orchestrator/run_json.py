"""A run as JSON, and back: what stands in `run.body`."""

from typing import Any

import msgspec

from percorso_orchestrator.model import Kept, Parked, Run, Sending, Waiting

_KINDS: dict[str, type[Waiting] | type[Sending]] = {"waiting": Waiting, "sending": Sending}


def run_to_json(run: Run) -> str:
    """Everything of a run."""
    body = {name: getattr(run, name) for name in Run.__dataclass_fields__ if name not in ("parked", "keep")}
    body["parked"] = _parked_to_builtins(run.parked)
    body["keep"] = {name: [kept.time, kept.id, kept.properties] for name, kept in run.keep.items()}
    return msgspec.json.encode(body).decode()


def run_from_json(text: str | bytes) -> Run:
    """What `run_to_json` wrote, by this version or the one before: a field that is missing has its default, one that is
    unknown is left out."""
    body: dict[str, Any] = {name: value for name, value in msgspec.json.decode(text).items()
                            if name in Run.__dataclass_fields__}
    body["parked"] = _parked_from_builtins(body.get("parked"))
    body["keep"] = {name: Kept(*kept) for name, kept in body.get("keep", {}).items()}
    body["used"] = tuple(body.get("used", ()))
    body["sent"] = {step: tuple(instants) for step, instants in body.get("sent", {}).items()}
    return Run(**body)


def _parked_to_builtins(parked: Parked | None) -> dict[str, Any] | None:
    if parked is None:
        return None
    kind = "waiting" if isinstance(parked, Waiting) else "sending"
    return {"kind": kind} | {name: getattr(parked, name) for name in parked.__dataclass_fields__}


def _parked_from_builtins(value: dict[str, Any] | None) -> Parked | None:
    if value is None:
        return None
    kind = _KINDS[value["kind"]]
    return kind(**{name: item for name, item in value.items() if name in kind.__dataclass_fields__})

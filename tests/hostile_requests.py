"""Fills and builds the requests of `tests/data/bad-inputs.jsonl`."""

import gzip
import json
import re
from base64 import b64decode, b64encode
from pathlib import Path
from typing import Any
from uuid import uuid4

CASES = [case for case in map(json.loads, (Path(__file__).parent / "data" / "bad-inputs.jsonl").read_text(
    encoding="utf-8").splitlines()) if case["id"] != "_meta"]


def filler(write_key: str, other_key: str, host: str = "ingest.test") -> Any:
    """Fills placeholders, the same within one case."""
    words = {"UID": f"u-{uuid4()}", "MID": f"m-{uuid4()}", "WRITE_KEY": write_key, "WRITE_KEY_B": other_key,
             "WRITE_KEY_20": write_key[:20] + "x", "HOST": host, "CANARY_FILE": "/nonexistent/canary",
             "BASIC": "Basic " + b64encode(f"{write_key}:".encode()).decode()}

    def fill(text: str) -> str:
        for word, value in words.items():
            text = text.replace(f"<<{word}>>", value)
        text = re.sub(r"<<B64:(.*?)>>", lambda m: b64encode(m[1].encode()).decode(), text)
        text = re.sub(r"<<FILL:(.):(\d+)>>", lambda m: m[1] * int(m[2]), text)
        return re.sub(r"<<LEN:(.*?)>>", lambda m: str(len(m[1].encode())), text)

    return fill


def body_of(case: dict[str, Any], fill: Any) -> bytes:
    body = case["body"]
    match body["kind"]:
        case "none":
            return b""
        case "raw":
            return bytes(fill(body["text"]).encode())
        case "json":
            return bytes(fill(json.dumps(body["value"])).encode())
        case "b64":
            return bytes(fill(b64decode(body["data"]).decode("latin-1")).encode("latin-1"))
        case "gen":
            return generate(body["name"], body["args"], fill)
    raise AssertionError(body)


def generate(name: str, args: dict[str, Any], fill: Any) -> bytes:
    event = {"type": "track", "userId": fill("<<UID>>"), "messageId": fill("<<MID>>"), "event": "x", "properties": {}}
    start = json.dumps(event)[:-2]
    match name:
        case "digits_event":
            return f'{start}"v":{"9" * args["n"]}}}}}'.encode()
        case "long_field_event":
            return json.dumps(event | {args["field"]: "x" * args["n"]}).encode()
        case "sized_event":
            return f'{start}"v":"{"a" * (args["bytes"] - len(start) - 8)}"}}}}'.encode()
        case "deep_object_event":
            return f'{start}"v":{chr(123) + chr(34) + "a" + chr(34) + ":"}'.encode() + (
                b'{"a":' * (args["n"] - 1) + b"1" + b"}" * args["n"] + b"}}")
        case "many_keys_event":
            return json.dumps(event | {"properties": {f"{args['prefix']}{n}": n for n in range(args["n"])}}).encode()
        case "gzip":
            return gzip.compress(json.dumps(event).encode())
        case "batch_all_bad":
            return json.dumps({"batch": [{"type": "track", "n": n} for n in range(args["events"])]}).encode()
        case "dup_same":
            return json.dumps(event).encode()
        case "dup_in_batch":
            return json.dumps({"batch": [event] * 100}).encode()
        case "bad_id_pair":
            return json.dumps({"userId": args["bad"], "anonymousId": str(uuid4()), "traits": {"n": 1}}).encode()
        case "shared_device":
            return json.dumps({"batch": [
                {"type": "identify", "userId": f"{user}-{fill('<<UID>>')}", "anonymousId": "device-1"}
                for user in ("a", "b")]}).encode()
        case "event_after_optout":
            return json.dumps({"batch": [
                {"type": "identify", "userId": fill("<<UID>>"), "traits": {"consent": {"email": False}}},
                event]}).encode()
    raise AssertionError(name)

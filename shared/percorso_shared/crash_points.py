"""Named points at which a test may stop a process and kill it.

`PERCORSO_TEST_PAUSE_AT=delivery.after_data` (or `delivery.after_data:3` for the third time it gets there): the process
writes one line `{"paused_at": "delivery.after_data"}` to its standard output and stops itself (SIGSTOP). Without the
variable a point costs one comparison. The variable is for tests only, so it is read here and is no setting.
"""

import json
import os
import signal
import sys
from typing import Literal

Point = Literal["delivery.before_claim", "delivery.claimed", "delivery.before_data", "delivery.after_data",
                "delivery.before_settle", "delivery.settled", "bus.before_commit", "bus.after_commit"]

_NAME, _, _TIMES = os.environ.get("PERCORSO_TEST_PAUSE_AT", "").partition(":")
_left = int(_TIMES or "1")


def reach(point: Point) -> None:
    """Stops this process if the test asked for it here."""
    if point != _NAME:
        return
    global _left  # how often the point is still to be passed belongs to the process
    _left -= 1
    if _left == 0:
        sys.stdout.write(json.dumps({"paused_at": point}) + "\n")
        sys.stdout.flush()
        os.kill(os.getpid(), signal.SIGSTOP)

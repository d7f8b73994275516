"""A process of its own that turns MJML into HTML: `python -m percorso_orchestrator.compile_mjml`.

Standard input: one JSON text (MJML) per line. Standard output: one line per input, `{"html": ...}` or `{"error": ...}`,
written before the next input is looked at: if the compiler dies, what is missing names the culprit.
"""

import json
import resource
import sys

MAX_MEMORY = 1 << 30
MAX_CPU_SECONDS = 20


def main() -> None:
    """Limits itself, then compiles what it is given."""
    resource.setrlimit(resource.RLIMIT_AS, (MAX_MEMORY, MAX_MEMORY))
    resource.setrlimit(resource.RLIMIT_CPU, (MAX_CPU_SECONDS, MAX_CPU_SECONDS))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    import mrml
    for line in sys.stdin:
        try:
            answer = {"html": mrml.to_html(json.loads(line)).content}
        except OSError as error:
            answer = {"error": str(error)}
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()

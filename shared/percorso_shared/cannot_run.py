"""The error whose message is for the operator."""


class CannotRun(Exception):
    """Percorso cannot do what it was asked; the message says why and what to change. Shown as one line, never with a
    stack trace; the exit code is 2."""

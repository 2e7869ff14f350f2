"""The two ways a command ends badly; main.py turns each into one sentence and an exit code."""


class UserError(Exception):
    """Wrong usage, configuration or input files: found before anything is written (exit code 2)."""

    exit_code = 2


class RunError(Exception):
    """A run that started and could not be finished (exit code 1, reason in status.json)."""

    exit_code = 1

"""What `python -m scripts.relearn` starts."""

import sys

from utils.signals import INTERRUPTED, check_stop, stop_signals_noted
from utils.terminal import say


def start() -> int:
    """Import the command, which takes seconds, and run it; returns the exit code."""
    try:
        with stop_signals_noted():
            from scripts.relearn.command import main

            check_stop()
    except KeyboardInterrupt as stop:
        say(f"{str(stop) or 'interrupted'}: run the same command to continue")
        return INTERRUPTED
    return main()


if __name__ == "__main__":
    sys.exit(start())

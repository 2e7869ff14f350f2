"""What `python -m scripts.relearn` starts."""

import sys

from utils.signals import INTERRUPTED, check_stop, stop_signals_noted
from utils.terminal import say

if __name__ == "__main__":
    try:
        with stop_signals_noted():  # the import takes seconds
            from scripts.relearn.command import main

            check_stop()
    except KeyboardInterrupt as stop:
        say(f"{str(stop) or 'interrupted'}: run the same command to continue")
        sys.exit(INTERRUPTED)
    sys.exit(main())

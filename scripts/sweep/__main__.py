"""What `python -m scripts.sweep` starts."""

import sys

from scripts.sweep.command import main

if __name__ == "__main__":
    sys.exit(main())

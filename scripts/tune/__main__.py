"""What `python -m scripts.tune` starts."""

import sys

from scripts.tune.command import main

if __name__ == "__main__":
    sys.exit(main())

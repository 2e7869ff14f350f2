"""What `python -m scripts.relearn` starts."""

import sys

from scripts.relearn.command import main

if __name__ == "__main__":
    sys.exit(main())

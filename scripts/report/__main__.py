"""What `python -m scripts.report` starts."""

import sys

from scripts.report.command import main

if __name__ == "__main__":
    sys.exit(main())

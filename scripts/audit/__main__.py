"""Start the command."""

import sys

from scripts.audit.command import main

if __name__ == "__main__":
    sys.exit(main())

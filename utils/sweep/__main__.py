"""python -m utils.sweep"""

import sys

from utils.sweep.command import main

if __name__ == "__main__":
    sys.exit(main())

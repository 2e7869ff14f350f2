"""python -m utils.report"""

import sys

from utils.report.command import main

if __name__ == "__main__":
    sys.exit(main())

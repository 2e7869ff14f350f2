"""A part in a process of its own: `python -m scripts.acceptance.child FUNCTION OPTIONS FD`; rows go to FD as JSON."""

import importlib
import os
import sys

from scripts.acceptance.options import Options
from scripts.acceptance.rows import broken


def main(function: str, options: str, descriptor: int) -> int:
    """Send every row as soon as it is there; 1 where the part broke, which is its last row then."""
    os.set_inheritable(descriptor, False)
    module, _, name = function.partition(":")
    with open(descriptor, "w", encoding="utf-8") as out:
        try:
            for row in getattr(importlib.import_module(module), name)(Options.from_json(options)):
                print(row.as_json(), file=out, flush=True)
        except (Exception, SystemExit) as error:  # a benchmark's way to say that a run failed
            print(broken("the part itself", error).as_json(), file=out, flush=True)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))

"""python -m scripts.document [--check]: write the pages that are made from the code, or say which are stale."""

import sys
from collections.abc import Sequence

from scripts.document import COMMAND, PAGES, ROOT, is_stale
from utils.files import write_text
from utils.terminal import Parser, on_terminal, tell


@on_terminal
def main(arguments: Sequence[str] | None = None) -> int:
    """Write or check the pages; the exit code is 1 where --check finds a stale one."""
    parser = Parser(COMMAND, description=f"Make {' and '.join(PAGES)} from the code.", allow_abbrev=False)
    parser.add_argument("--check", action="store_true", help="write nothing; exit code 1 where a page is stale")
    wanted = parser.parse_args(arguments)
    stale = [page for page in PAGES if is_stale(page)]
    for page in stale:
        if not wanted.check:
            write_text(ROOT / page, PAGES[page]())
        tell(f"{page} is stale: make it anew with {COMMAND}" if wanted.check else f"{page} written")
    return int(bool(stale) and wanted.check)


if __name__ == "__main__":
    sys.exit(main())

"""Group-robust machine unlearning: configuration, engine, unlearners and evaluation.

In Python, `from method import run, load_results, load_audit, load_model` does what main.py and a look into the folder
of runs do, and gives the network of a run.
"""

from importlib.util import find_spec
from pathlib import Path
from typing import Any

__all__ = ["RunError", "UserError", "load_audit", "load_model", "load_results", "run"]


def __getattr__(name: str) -> Any:
    """What notebooks import, found when it is asked for: the modules of this package do without it."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    root = Path(__file__).resolve().parent.parent
    found = find_spec("utils")
    if found is None or found.origin is None or Path(found.origin).resolve().parent != root / "utils":
        raise ImportError(
            f"another package named utils comes before that of {root}: start Python anew, and before other imports "
            f"say sys.path.insert(0, {str(root)!r})"
        )
    from method import api

    return getattr(api, name)

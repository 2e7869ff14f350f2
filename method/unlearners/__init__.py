"""One file a method; importing it registers it. Adding a method: its file and its name in this list."""

from method.registry import METHODS
from method.unlearners import (  # noqa: F401
    bad_teacher,
    boundary_expand,
    boundary_shrink,
    falw,
    ft,
    ga,
    iu,
    l1_sparse,
    miu,
    neggrad_plus,
    rl,
    salun,
    scrub,
    ssd,
    training,
)

# Methods stand in the order of this list everywhere, whichever file imports another.
for _name in sorted(METHODS, key=lambda name: METHODS[name].__module__):
    METHODS[_name] = METHODS.pop(_name)

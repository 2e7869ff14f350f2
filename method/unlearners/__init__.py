"""One file a method; importing it registers it. Adding a method: its file and its name in this list."""

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

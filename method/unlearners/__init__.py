"""One file a method; importing it registers it. Adding a method: its file and its name in this line."""

from method.unlearners import l1_sparse, miu, salun, scrub, training  # noqa: F401

"""One file a method; importing it registers it. Adding a method: its file and its name in this line."""

from method.unlearners import iu, l1_sparse, miu, salun, scrub, ssd, training  # noqa: F401

"""Per-sample records of one prediction pass, and the metrics that are pure functions of them."""

"""The audit of finished runs: what needs several of them."""

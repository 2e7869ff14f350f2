"""Runs: one run from its configuration to its folder, and folders read back."""

"""Leaf helpers (errors, seeds, files, device) and the tools that stand on top of everything (report)."""

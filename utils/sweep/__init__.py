"""A grid of runs as one command: python -m utils.sweep GRID.yaml."""

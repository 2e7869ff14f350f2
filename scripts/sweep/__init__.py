"""A grid of runs as one command: python -m scripts.sweep GRID.yaml."""

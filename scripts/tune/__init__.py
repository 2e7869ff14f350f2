"""A search for hyperparameters as one command: python -m scripts.tune --method NAME --budget N."""

"""Training: the engine, what it starts from, and how it goes on."""

"""Batches: loaders, worker processes and the thread that reads."""

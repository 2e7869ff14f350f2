"""Deletion requests: the names in a list, and the rows that they mean."""

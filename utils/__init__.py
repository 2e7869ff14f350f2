"""Leaves, which know nothing of the program: files, locks, devices, processes, signals, tables, text."""

"""Metrics of your own, one file each; importing it registers it. Adding one: its file, and a line here."""

"""Labels: tables of text, how values are spelled, and what lies near a name."""

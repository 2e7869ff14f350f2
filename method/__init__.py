"""Group-robust machine unlearning: configuration, engine, unlearners and evaluation."""

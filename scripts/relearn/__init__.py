"""The relearning test: what a little fine-tuning brings back, and what weights and features still know."""

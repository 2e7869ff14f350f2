"""What people run beside main.py."""

"""What the console sees, by subject; view.py puts the parts together."""

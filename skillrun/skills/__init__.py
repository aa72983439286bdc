"""A skill: its text, where it comes from, its checks."""

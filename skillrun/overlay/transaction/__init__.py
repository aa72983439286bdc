"""Commit and undo of what a view changed."""

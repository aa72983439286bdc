"""The copy-on-write view of a machine: its layers, what changed in them, commit and undo."""

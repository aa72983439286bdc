"""Whoever decides the next call: Claude, the built-in rules, a recorded plan, a script."""

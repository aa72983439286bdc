"""The closed world: the forms of calls that are known to change nothing."""

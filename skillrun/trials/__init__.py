"""Skills run in throw-away machines."""

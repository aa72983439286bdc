"""Throw-away machines: base machines from recipes, faults put into them, scenarios with their own verifiers."""

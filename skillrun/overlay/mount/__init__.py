"""How a view is laid."""

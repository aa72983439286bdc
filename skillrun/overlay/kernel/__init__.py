"""The kernel interfaces a view stands on."""

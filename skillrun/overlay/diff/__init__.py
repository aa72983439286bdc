"""What a view changed."""

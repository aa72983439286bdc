"""What runs inside and beside a view."""

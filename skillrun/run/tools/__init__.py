"""What the tools offered to a model do."""

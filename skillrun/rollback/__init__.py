"""Taking back what a run changed."""

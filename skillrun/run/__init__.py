"""One run: the loop, its executor, its limits."""

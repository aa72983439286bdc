"""Changes kept while they happen, without a view."""

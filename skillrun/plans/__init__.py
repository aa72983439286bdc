"""Plans: what a run that worked did, small, proven and written down, so that other machines can replay it."""

"""What a command printed: its lines, the screen they make, the record of all of it."""

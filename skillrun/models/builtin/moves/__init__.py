"""What helps, by subject: the moves that remedies and ways are made of, one file for a manager or a kind of trouble."""

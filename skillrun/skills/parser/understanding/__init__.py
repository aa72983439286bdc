"""What a document is about, and the ways it offers to get its program: data, before anything is done."""

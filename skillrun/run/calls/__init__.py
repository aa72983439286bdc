"""One call: decided on, asked about, watched over, carried out."""

"""A copy-on-write view of another machine, made there by util-linux and sh: its changes shown, committed, taken back."""

"""The shell that only looks: what is held by the kernel when a command is run unasked."""

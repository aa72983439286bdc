"""A command as the shell would evaluate it: words expanded, branches walked, nothing run."""

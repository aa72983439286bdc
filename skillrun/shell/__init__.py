"""Bash as a language and as a process."""

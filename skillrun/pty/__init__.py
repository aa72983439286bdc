"""Bash as a process: session, terminal, jobs."""

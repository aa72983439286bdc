"""Machines, and views of one, that commands run on."""

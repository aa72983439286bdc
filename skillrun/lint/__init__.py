"""Complaints about skills."""

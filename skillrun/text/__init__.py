"""Strangers' text made safe to show."""

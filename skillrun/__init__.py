"""Skillrun installs software from a piece of text and proves that it works."""

__version__ = "0.1.0"

"""Markdown to a skill."""

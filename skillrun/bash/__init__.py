"""Bash as a language: syntax, words, nodes."""

"""Inventories: who the machines are, as pyinfra and Ansible write it down, and what of it is secret."""

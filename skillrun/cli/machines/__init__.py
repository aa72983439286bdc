"""Many machines on the command line: a rollout on the screen, and what follows one."""

"""What people and programs see of a run. Each surface is a callable that takes events; none may stop a run."""

"""skillrun for other agents: a server that speaks the Model Context Protocol."""

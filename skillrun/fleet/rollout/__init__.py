"""Many machines: a canary in each group, then its plan on the rest; what differs is attended to alone."""

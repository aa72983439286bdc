"""Copy-on-write views of this machine."""

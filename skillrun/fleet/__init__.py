"""Other machines: reached over pyinfra's connectors, one by one as a target, or many at once by a plan."""

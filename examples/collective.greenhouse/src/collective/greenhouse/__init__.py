"""Waters plants in the background: an example for collective.clockwork."""

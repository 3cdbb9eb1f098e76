"""The chaos suite: real processes, random faults, and what must hold after them."""

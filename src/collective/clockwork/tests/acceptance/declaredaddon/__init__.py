"""An add-on whose ZCML declares a schedule, for tests with real processes."""

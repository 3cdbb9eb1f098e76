"""An add-on with scheduled functions, for tests with real processes."""

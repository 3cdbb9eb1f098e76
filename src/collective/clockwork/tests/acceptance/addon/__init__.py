"""An add-on with a job that begins, waits to be told, and counts that it was done."""

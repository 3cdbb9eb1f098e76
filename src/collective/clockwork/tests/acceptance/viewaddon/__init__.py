"""An add-on with a background view that begins, waits to be told, and says where."""

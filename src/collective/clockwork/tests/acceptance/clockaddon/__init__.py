"""An add-on that keeps who ticked a site, and has a view that takes its time."""

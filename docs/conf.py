"""How Sphinx builds the documentation: ``make docs``."""

project = "collective.clockwork"
copyright = "the contributors of collective.clockwork"
extensions: list[str] = []
exclude_patterns = ["_build"]
html_theme = "alabaster"
html_theme_options = {
    "description": "Background jobs and timed events for Plone",
    "fixed_sidebar": True,
}

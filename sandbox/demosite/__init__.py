"""What an add-on with background jobs looks like, in small.

It belongs to the sites of `make run` and `make demo`. The page "Try it" of a folder
queues jobs of all kinds; what they do is in ``jobs``.
"""

"""Exports: what a catalog query finds, as a file that is made in the background.

``columns`` says what can be in the file, ``query`` what may be asked for, ``files``
how it is written and kept, ``job`` is what runs, and ``shelf`` starts, lists, opens and
removes exports of users.
"""

"""Background jobs in Plone's content rules; loaded if plone.app.contentrules is there.

``background`` is an action that runs the actions of another rule in a job, ``triggers``
lets rules be run when a job has ended.
"""

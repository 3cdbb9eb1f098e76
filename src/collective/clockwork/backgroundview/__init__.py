"""What a view needs to have its work done by a job, and to show how that goes.

::

    POST ──► process.start ──► a job, and a Process: what was sent, and for whom
                                        │
                                 running.run: the request again, the view's __run__
                                        │
    GET  ──► process.find  ◄── a Process with an Answer: what the view returned

The pages are in ``browser.asyncview``.
"""

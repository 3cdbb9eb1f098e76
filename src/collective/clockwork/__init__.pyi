from collective.clockwork.decorator import background as background
from collective.clockwork.job import Job as Job
from collective.clockwork.job import queue as queue
from collective.clockwork.retry import RetryWithDelay as RetryWithDelay
from zope.i18nmessageid import MessageFactory

_: MessageFactory

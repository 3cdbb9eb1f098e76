"""The layers of our tests: collective.clockwork's, with this add-on installed."""

from collective.clockwork.testing import AsyncFunctionalTesting
from collective.clockwork.testing import COLLECTIVE_CLOCKWORK_FIXTURE
from collective.clockwork.testing import COLLECTIVE_CLOCKWORK_WORKER_FIXTURE
from plone.app.testing import FunctionalTesting
from plone.app.testing import IntegrationTesting
from plone.app.testing import PloneSandboxLayer

import collective.greenhouse


class GreenhouseLayer(PloneSandboxLayer):
    """A site with the add-on; nothing runs jobs by itself."""

    defaultBases = (COLLECTIVE_CLOCKWORK_FIXTURE,)

    def setUpZope(self, app, configurationContext):
        self.loadZCML(package=collective.greenhouse)


GREENHOUSE_FIXTURE = GreenhouseLayer()

GREENHOUSE_INTEGRATION_TESTING = IntegrationTesting(
    bases=(GREENHOUSE_FIXTURE,), name="Greenhouse:Integration"
)

GREENHOUSE_FUNCTIONAL_TESTING = FunctionalTesting(
    bases=(GREENHOUSE_FIXTURE,), name="Greenhouse:Functional"
)


class GreenhouseWorkerLayer(GreenhouseLayer):
    """The same on the fixture for tests with a worker."""

    defaultBases = (COLLECTIVE_CLOCKWORK_WORKER_FIXTURE,)


GREENHOUSE_WORKER_FIXTURE = GreenhouseWorkerLayer()

GREENHOUSE_WORKER_TESTING = AsyncFunctionalTesting(
    bases=(GREENHOUSE_WORKER_FIXTURE,), name="Greenhouse:Worker"
)

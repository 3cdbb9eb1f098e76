"""Functional: ``drain`` runs what is queued, in the test's own thread."""

from collective.clockwork.interfaces import IAsyncService
from collective.clockwork.testing import drain
from collective.greenhouse.testing import GREENHOUSE_FUNCTIONAL_TESTING
from collective.greenhouse.watering import diary
from collective.greenhouse.watering import water
from plone import api
from plone.app.testing import setRoles
from plone.app.testing import TEST_USER_ID
from zope.component import getUtility

import unittest


class WateringTests(unittest.TestCase):
    layer = GREENHOUSE_FUNCTIONAL_TESTING

    def setUp(self):
        portal = self.layer["portal"]
        setRoles(portal, TEST_USER_ID, ["Manager"])
        self.greenhouse = api.content.create(portal, "Folder", "greenhouse")
        for name in ("basil", "mint", "sage"):
            api.content.create(self.greenhouse, "Document", name)

    def water(self, litres):
        service = getUtility(IAsyncService)
        job = service.queueJob(water, self.greenhouse, litres)
        drain()
        return job.result

    def test_each_plant_is_watered(self):
        self.assertEqual(3, self.water(2))
        found = api.content.find(self.greenhouse, Description="2 litres")
        self.assertEqual(3, len(found))
        self.assertEqual(["3 plants watered"], diary(self.greenhouse))

    def test_if_the_tank_is_empty_no_plant_is_and_the_diary_says_so(self):
        self.water(20)
        self.assertEqual("", self.greenhouse["basil"].Description())
        self.assertEqual(
            ["Not watered: The tank is empty after 2 plants"], diary(self.greenhouse)
        )

    def test_failures_of_other_jobs_are_not_noted(self):
        service = getUtility(IAsyncService)
        service.queueJob(api.content.transition, self.greenhouse, "bloom")
        drain()
        self.assertEqual(["failed"], [job.status for job in service.findJobs()])
        self.assertEqual([], diary(self.greenhouse))

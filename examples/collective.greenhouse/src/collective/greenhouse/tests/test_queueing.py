"""Integration: what the page queues. Nothing is committed, and nothing is run."""

from collective.clockwork.testing import assert_not_queued
from collective.clockwork.testing import assert_queued
from collective.greenhouse.testing import GREENHOUSE_INTEGRATION_TESTING
from collective.greenhouse.watering import water
from plone import api
from plone.app.testing import setRoles
from plone.app.testing import TEST_USER_ID
from plone.protect import createToken

import unittest


class QueueingTests(unittest.TestCase):
    layer = GREENHOUSE_INTEGRATION_TESTING

    def setUp(self):
        self.request = self.layer["request"]
        portal = self.layer["portal"]
        setRoles(portal, TEST_USER_ID, ["Manager"])
        self.greenhouse = api.content.create(portal, "Folder", "greenhouse")

    def view(self):
        return api.content.get_view("water", self.greenhouse, self.request)

    def test_the_button_queues_a_job(self):
        self.request.method = "POST"
        self.request.form.update(litres=2, _authenticator=createToken())
        self.view()()
        job = assert_queued(water, self.greenhouse, args=(2,))
        self.assertEqual(TEST_USER_ID, job.user_id)

    def test_looking_at_the_page_queues_nothing(self):
        self.view()()
        assert_not_queued(water)

"""Installing and uninstalling the add-on in a site."""

from __future__ import annotations

from collective.clockwork.engine.interfaces import KEY
from collective.clockwork.interfaces import IClockworkLayer
from collective.clockwork.setuphandlers import HiddenProfiles
from collective.clockwork.testing import COLLECTIVE_CLOCKWORK_INTEGRATION_TESTING
from plone import api
from plone.app.testing import setRoles
from plone.app.testing import TEST_USER_ID
from plone.base.interfaces.installable import INonInstallable
from plone.base.utils import get_installer
from plone.browserlayer.utils import registered_layers
from zope.component import getAllUtilitiesRegisteredFor

import unittest


ADD_ON = "collective.clockwork"
PERMISSION = "collective.clockwork: Manage background jobs"

#: Configlets: the name of each is that of its page.
ENTRIES = {"background-jobs": "Background jobs", "background-schedules": "Schedules"}


class SetupTestCase(unittest.TestCase):
    layer = COLLECTIVE_CLOCKWORK_INTEGRATION_TESTING

    def setUp(self):
        self.portal = self.layer["portal"]
        setRoles(self.portal, TEST_USER_ID, ["Manager"])
        self.installer = get_installer(self.portal, self.layer["request"])

    def configlets(self):
        actions = self.portal.portal_controlpanel.listActions()
        return {action.getId(): action for action in actions}

    def roles_with_permission(self):
        roles = self.portal.rolesOfPermission(PERMISSION)
        return [role["name"] for role in roles if role["selected"]]


class TestInstalled(SetupTestCase):
    def test_the_add_on_is_installed(self):
        self.assertTrue(self.installer.is_product_installed(ADD_ON))

    def test_the_profile_has_version_1000(self):
        version = self.portal.portal_setup.getLastVersionForProfile(f"{ADD_ON}:default")
        self.assertEqual(("1000",), version)

    def test_requests_of_the_site_get_the_layer(self):
        self.assertIn(IClockworkLayer, registered_layers())

    def test_managers_and_site_administrators_may_manage_jobs(self):
        self.assertEqual(
            ["Manager", "Site Administrator"], self.roles_with_permission()
        )

    def test_the_control_panel_has_its_entries(self):
        for name, title in ENTRIES.items():
            entry = self.configlets()[name]
            self.assertEqual(title, entry.title)
            self.assertEqual(
                f"string:${{portal_url}}/@@{name}", entry.getActionExpression()
            )
            self.assertEqual((PERMISSION,), tuple(entry.permissions))

    def test_an_editor_does_not_get_the_entry(self):
        panel = self.portal.portal_controlpanel
        setRoles(self.portal, TEST_USER_ID, ["Editor"])
        self.assertFalse(
            api.user.has_permission(PERMISSION, obj=self.portal, username=None)
        )
        ids = [action["id"] for action in panel.enumConfiglets(group="plone-advanced")]
        self.assertNotIn("background-jobs", ids)
        setRoles(self.portal, TEST_USER_ID, ["Site Administrator"])
        ids = [action["id"] for action in panel.enumConfiglets(group="plone-advanced")]
        self.assertIn("background-jobs", ids)

    def test_the_queues_are_made(self):
        queues = self.portal._p_jar.root()[KEY]
        self.assertEqual(1, queues[""].quotas["default"].size)

    def test_the_uninstall_profile_is_not_offered(self):
        hidden = [
            name
            for utility in getAllUtilitiesRegisteredFor(INonInstallable)
            for name in utility.getNonInstallableProfiles()
        ]
        self.assertIn(f"{ADD_ON}:uninstall", hidden)
        self.assertEqual([], HiddenProfiles().getNonInstallableProducts())


class TestUninstalled(SetupTestCase):
    def setUp(self):
        super().setUp()
        self.installer.uninstall_product(ADD_ON)

    def test_the_add_on_is_not_installed(self):
        self.assertFalse(self.installer.is_product_installed(ADD_ON))

    def test_the_layer_is_gone(self):
        self.assertNotIn(IClockworkLayer, registered_layers())

    def test_the_entries_in_the_control_panel_are_gone(self):
        self.assertFalse(ENTRIES.keys() & self.configlets().keys())

    def test_what_was_queued_stays(self):
        self.assertIn("", self.portal._p_jar.root()[KEY])

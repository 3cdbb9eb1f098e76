#!/bin/sh
# Collect the texts of the package anew and bring the translations in line.
# Needs i18ndude (https://pypi.org/project/i18ndude/) on the PATH.
set -eu
cd "$(dirname "$0")"

domain=collective.clockwork
pot=$domain.pot
i18ndude rebuild-pot --pot "$pot" --create "$domain" --no-line-numbers \
    --exclude tests ..
i18ndude sync --pot "$pot" ./*/LC_MESSAGES/"$domain".po

# Plone translates the titles of content rule elements in its own domain. They are kept
# by hand in plone.pot, as i18ndude does not find them in contentrules/configure.zcml.
i18ndude sync --pot plone.pot ./*/LC_MESSAGES/plone.po

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

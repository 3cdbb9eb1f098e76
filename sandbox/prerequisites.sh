#!/bin/sh
# Says in one line what is missing on this machine before pip says it in a hundred.
python="${PYTHON:-python3}"

fail() {
    echo "collective.clockwork cannot be set up: $1" >&2
    exit 1
}

command -v "$python" >/dev/null 2>&1 ||
    fail "there is no command '$python'. Install Python 3.10 to 3.13, or name yours: make PYTHON=python3.12"

"$python" -c 'import sys; sys.exit(sys.version_info < (3, 10))' ||
    fail "'$python' is $("$python" -V 2>&1), but 3.10 or newer is needed. Name another: make PYTHON=python3.12"

"$python" -c 'import ensurepip, venv' 2>/dev/null ||
    fail "'$python' cannot make virtual environments. On Debian and Ubuntu: apt-get install python3-venv"

# Some packages of Zope have no wheel for every Python, and are compiled.
header=$("$python" -c 'import sysconfig; print(sysconfig.get_path("include") + "/Python.h")')
command -v "${CC:-cc}" >/dev/null 2>&1 || command -v gcc >/dev/null 2>&1 ||
    fail "there is no C compiler. On Debian and Ubuntu: apt-get install gcc python3-dev"
[ -e "$header" ] ||
    fail "the C headers of '$python' are missing ($header). On Debian and Ubuntu: apt-get install python3-dev"

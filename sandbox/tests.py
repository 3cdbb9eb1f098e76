"""``make test``: all tests, in two processes side by side.

Those in ``acceptance`` wait most of the time for other processes to start and to die.
Their output comes at the end. With arguments there is one process, which gets them.
"""

from __future__ import annotations

from pathlib import Path

import subprocess
import sys
import tempfile


ROOT = Path(__file__).parent.parent
ACCEPTANCE = "src/collective/clockwork/tests/acceptance"


def pytest(*arguments: str) -> list[str]:
    """The command that runs pytest with these arguments."""
    return [sys.executable, "-m", "pytest", *arguments]


def run_all() -> int:
    """Run all tests; the exit code, 0 if all went well in both processes."""
    with tempfile.TemporaryFile() as output:
        beside = subprocess.Popen(
            pytest(ACCEPTANCE, "-o", "cache_dir=.pytest_cache/acceptance"),
            cwd=ROOT,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        try:
            code = subprocess.call(pytest(f"--ignore={ACCEPTANCE}"), cwd=ROOT)
            beside_code = beside.wait()
            return code or beside_code
        finally:
            if beside.poll() is None:
                beside.terminate()
                beside.wait()
            output.seek(0)
            sys.stdout.flush()
            sys.stdout.buffer.write(output.read())
            sys.stdout.flush()


def main(arguments: list[str]) -> int:
    """Run all tests, or those that the arguments name; the exit code."""
    if arguments:
        return subprocess.call(pytest(*arguments), cwd=ROOT)
    return run_all()


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(130)

"""Runs pool_real.c against a real PostgreSQL: connections that come back in a transaction, failed, busy or broken;
cancels that hit no other query; the socket options that make the kernel watch the peer."""
import subprocess

import pytest

from lab import BUILD, clean_environment


@pytest.mark.long
def test_the_pool_against_a_real_server(postgres):
    done = subprocess.run([BUILD / "tests/pool_real"], env=clean_environment(**postgres.env), capture_output=True, text=True,
                          stdin=subprocess.DEVNULL, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    assert postgres.backends() == set()

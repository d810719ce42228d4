"""A PgBouncer of Debian's before a test's PostgreSQL, in transaction pooling: each transaction may get another of its
connections to the server."""
import os
import shutil
import socket
import subprocess
import tempfile
from contextlib import suppress
from pathlib import Path

from psycopg2.extensions import make_dsn, parse_dsn

from lab import ROLE_URLS, clean_environment, free_port, wait_for

SETTINGS = """\
[databases]
{dbname} = host={host} port={server_port}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = scram-sha-256
auth_file = {folder}/users
pool_mode = transaction
default_pool_size = {size}
max_client_conn = 1000
"""


class PgBouncer:
    """With at most `size` connections to the server. `url` is for the service's pool."""

    def __init__(self, postgres, size):
        self.server = parse_dsn(postgres.env[ROLE_URLS["app"]])
        self.size = size

    def __enter__(self):
        self.folder = Path(tempfile.mkdtemp(prefix="flashover-pgbouncer-", dir="/tmp"))
        self.port = free_port()
        self.url = make_dsn(**{**self.server, "host": "127.0.0.1", "port": self.port})
        (self.folder / "users").write_text(f'"{self.server["user"]}" "{self.server["password"]}"\n')
        (self.folder / "settings.ini").write_text(SETTINGS.format(
            dbname=self.server["dbname"], host=self.server["host"], server_port=self.server["port"], port=self.port,
            size=self.size, folder=self.folder))
        command = ["pgbouncer", self.folder / "settings.ini"]
        if os.geteuid() == 0:  # which it refuses to run as
            for path in (self.folder, *self.folder.iterdir()):
                shutil.chown(path, "postgres", "postgres")
            command = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups", "--pdeathsig=KILL", "--", *command]
        with open(self.folder / "log", "wb") as log:
            self.process = subprocess.Popen(command, env=clean_environment(), stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        try:
            wait_for(self._listens, "PgBouncer listens")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        self.process.terminate()
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(10)
        self.process.kill()
        self.process.wait()
        shutil.rmtree(self.folder)

    def _listens(self):
        assert self.process.poll() is None, self.log()
        with suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=1):
            return True
        return False

    def log(self):
        return (self.folder / "log").read_text(errors="replace")

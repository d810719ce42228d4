"""Debian's PgBouncer in front of a test's PostgreSQL, set up as in the profile `scale` of docker-compose.yml. It pools
by transaction: each transaction may get another of its connections to the server."""
import configparser
import os
import shutil
import socket
import subprocess
import tempfile
from contextlib import suppress
from pathlib import Path

from psycopg2.extensions import make_dsn, parse_dsn

from lab import ROLE_URLS, ROOT, clean_environment, free_port, wait_for

SETTINGS = ROOT / "deploy/scale/pgbouncer.ini"
# Debian installs it in /usr/sbin, which most users do not have in PATH.
PROGRAM = shutil.which("pgbouncer", path=f"{os.environ['PATH']}:/usr/sbin")


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
        with open(self.folder / "settings.ini", "w") as file:
            self._settings().write(file)
        command = [PROGRAM, self.folder / "settings.ini"]
        if os.geteuid() == 0:  # it refuses to run as root
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

    def _settings(self):
        """The scaled-out lab's settings, with other addresses, another file of users and another pool size."""
        settings = configparser.ConfigParser(comment_prefixes=(";",), interpolation=None)
        settings.read_string(SETTINGS.read_text())
        settings["databases"] = {self.server["dbname"]: f"host={self.server['host']} port={self.server['port']}"}
        settings["pgbouncer"].update({"listen_addr": "127.0.0.1", "listen_port": str(self.port), "auth_file": str(self.folder / "users"),
                                      "default_pool_size": str(self.size)})
        return settings

    def _listens(self):
        assert self.process.poll() is None, self.log()
        with suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=1):
            return True
        return False

    def log(self):
        return (self.folder / "log").read_text(errors="replace")

"""The service as `make up` and a container engine run it: it is restarted after a crash."""
import shutil
import subprocess
import tempfile
from pathlib import Path

from http_client import Client
from lab import ROOT, Service, clean_environment


class SupervisedService(Service):
    """The service under deploy/supervise.sh. `process` is the restarter, which outlives the service's crashes."""

    def __init__(self, postgres, **options):
        super().__init__(postgres, **options)
        self.log_file.unlink()
        self.state = Path(tempfile.mkdtemp(prefix="flashover-proof-"))
        (self.state / "temp").write_text(f"{self.state}\n")
        self.log_file = self.state / "service.log"

    def _spawn(self):
        self.public, self.admin = Client(self.port), Client(self.admin_port)
        command = ["setpriv", "--pdeathsig", "TERM", "--", ROOT / "deploy/supervise.sh", self.state, "service", self.program,
                   f"--listen=127.0.0.1:{self.port}", f"--admin-listen=127.0.0.1:{self.admin_port}", *self.options]
        self.process = subprocess.Popen(command, env=clean_environment(**self.env), stdin=subprocess.DEVNULL,
                                        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)

    def restart(self):
        """Restarts the service by hand, gracefully. The restarter ends as well: it takes a status of 0 as final."""
        self.stop()
        self.start()

    def __exit__(self, *_):
        if self.alive():
            self.process.kill()  # the service dies with it
        if self.process:
            self.process.wait()
        shutil.rmtree(self.state, ignore_errors=True)

    def last_words(self):
        lines = self.log().splitlines() if self.log_file.exists() else []
        return next((line for line in reversed(lines) if '"program":"supervisor"' not in line), "it said nothing")

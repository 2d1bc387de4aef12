"""Server: one ChatRoom process as a test sees it, started, watched and ended.

It knows the program only by its settings (PROTOCOL.md 1), its probes and its signals. `check` is what must hold after
every test: the process lives, nothing panicked, and no token that was ever handed out stands in the log.
"""

import os
import random
import re
import signal
import socket
import subprocess
import time
from http.client import HTTPConnection
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BIN = ROOT / os.environ.get("CHATROOM_BIN", "target/release/chatroom")
TEST_DSN = os.environ.get("CHATROOM_TEST_DSN")
JWT_SECRET = "q7Zr2-outside-tests-9fKx4mVtB8wLs1Nd6Ue3"
START_S = 20.0
STOP_S = 15.0

BARE_NAMES = ("APP_PORT", "APP_ENV", "DATABASE_DSN", "JWT_SECRET", "REDIS_URL")
LOOKS_LIKE_JWT = re.compile(r"eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}")


def clean_env(settings):
    """The environment without any ChatRoom setting of the one who runs the tests, plus `settings`, given by full name."""
    env = {k: v for k, v in os.environ.items() if not k.startswith("CHATROOM_") and k not in BARE_NAMES}
    env.update({k: str(v) for k, v in settings.items()})
    return env


def free_port():
    """A port outside of the range from which outgoing connections are given theirs, so that it stays free over a restart."""
    while True:
        port = random.randint(15000, 30000)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
                return port
            except OSError:
                continue


class Server:
    """`settings` are names without the prefix. `start` returns when /readyz answers 200."""

    def __init__(self, folder, **settings):
        self.folder = Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.port_file = self.folder / "port"
        self.log_file = self.folder / "server.log"
        self.settings = {
            "APP_PORT": "0",
            "PORT_FILE": str(self.port_file),
            "DATABASE_DSN": TEST_DSN or f"sqlite://{self.folder}/chatroom.db",
            "JWT_SECRET": JWT_SECRET,
            "PASSWORD_COST": "1024,1,1",
            "RATE_LIMIT": "off",
            "DRAIN_S": "3",
        }
        self.settings.update(settings)
        self.settings = {k: v for k, v in self.settings.items() if v is not None}
        self.process = None
        self.port = None
        self.secrets = set()
        self.host = "127.0.0.1"

    def start(self):
        self.port_file.unlink(missing_ok=True)
        env = clean_env({f"CHATROOM_{k}": v for k, v in self.settings.items()})
        with open(self.log_file, "ab") as log:
            self.process = subprocess.Popen(
                [str(BIN), "serve"], cwd=self.folder, env=env, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        self._wait_ready(time.monotonic() + START_S)
        return self

    def _wait_ready(self, deadline):
        while time.monotonic() < deadline:
            assert self.process.poll() is None, f"ended at start with {self.process.returncode}:\n{self.log()[-3000:]}"
            port = self._read_port()
            if port and self._ready(port):
                self.port = port
                return
            time.sleep(0.02)
        raise AssertionError(f"not ready within {START_S} s; port file: {self._read_port()}\n{self.log()[-3000:]}")

    def _read_port(self):
        try:
            found = re.search(r"(\d+)/?\s*$", self.port_file.read_text())
        except OSError:
            return None
        return int(found.group(1)) if found else None

    def _ready(self, port):
        probe = HTTPConnection(self.host, port, timeout=2)
        try:
            probe.request("GET", "/readyz")
            return probe.getresponse().status == 200
        except OSError:
            return False
        finally:
            probe.close()

    @property
    def authority(self):
        return f"{self.host}:{self.port}"

    @property
    def url(self):
        return f"http://{self.authority}"

    def connect(self, timeout=10.0):
        """A raw TCP connection."""
        raw = socket.create_connection((self.host, self.port), timeout=timeout)
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return raw

    def kill(self):
        """kill -9, and waits for the end."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(STOP_S)

    def terminate(self):
        self.process.send_signal(signal.SIGTERM)

    def stop(self):
        """SIGTERM must end the process with status 0, within the drain time and a little."""
        if not self.alive():
            return
        self.terminate()
        try:
            status = self.process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"still running {STOP_S} s after SIGTERM:\n{self.log()[-2000:]}") from None
        assert status == 0, f"SIGTERM ended it with {status}:\n{self.log()[-2000:]}"
        self.process = None

    def alive(self):
        return self.process is not None and self.process.poll() is None

    def log(self):
        return self.log_file.read_text(errors="replace") if self.log_file.exists() else ""

    def check(self):
        """What must hold at the end of every test, also when the test has stopped it itself."""
        log = self.log()
        panics = [line for line in log.splitlines() if "panicked" in line]
        assert not panics, f"panicked: {panics[:5]}"
        assert self.process is None or self.alive(), f"the process ended with {self.process.poll()}:\n{log[-3000:]}"
        leaks = [m.group(0)[:24] for m in LOOKS_LIKE_JWT.finditer(log)]
        leaks += [s[:12] for s in self.secrets if s in log]
        assert not leaks, f"tokens in the log, which begin with {sorted(set(leaks))[:5]}"

    def memory_kib(self):
        """Resident memory: VmRSS of /proc/PID/status, in KiB, file-backed pages included."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"VmRSS:\s+(\d+) kB", status).group(1))

    def cpu_s(self):
        """User and system time so far, in seconds: fields 14 and 15 of /proc/PID/stat."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

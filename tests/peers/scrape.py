"""Scrapes the metrics of `fieldfit serve` with Prometheus itself, configured as docs/guide/watching.md says.

    scrape.py URL FOLDER [PROMETHEUS]

URL is what `fieldfit serve` prints, FOLDER is new, PROMETHEUS is the program (Debian's package `prometheus`).
"""

import json
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

PATIENCE = 120
CONFIGURATION = """\
global: {{ scrape_interval: 1s }}
scrape_configs:
  - job_name: robot
    authorization: {{ credentials_file: {token} }}
    static_configs: [{{ targets: ["{target}"] }}]
"""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def ask(port: int, path: str, **query: str) -> object:
    """The data of an answer of Prometheus; `None` while it starts."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/v1/{path}?{urllib.parse.urlencode(query)}") as answer:
            return json.load(answer)["data"]
    except (urllib.error.URLError, ConnectionError):
        return None


def until(condition, what: str) -> object:
    deadline = time.monotonic() + PATIENCE
    while not (found := condition()):
        assert time.monotonic() < deadline, f"{what}: not within {PATIENCE} s"
        time.sleep(0.2)
    return found


def served(target: str, token: str) -> dict[str, float]:
    """The samples that the server writes: names with their labels, and values."""
    request = urllib.request.Request(f"http://{target}/metrics", headers={"Authorization": f"Bearer {token}"})
    lines = urllib.request.urlopen(request).read().decode().splitlines()
    pairs = [line.rsplit(" ", 1) for line in lines if line and not line.startswith("#")]
    return {name: float(value) for name, value in pairs}


def check(port: int, target: str, token: str) -> None:
    """Prometheus reads every sample, and those that stand still with their values."""

    def is_up() -> bool:
        targets = (ask(port, "targets") or {}).get("activeTargets", [])
        assert not any(target["lastError"] for target in targets), targets
        return bool(targets) and targets[0]["health"] == "up"

    until(is_up, "the target is scraped")
    samples = served(target, token)
    scraped = {row["__name__"] for row in ask(port, "series", **{"match[]": '{job="robot"}'})}
    names = {name.partition("{")[0] for name in samples}
    assert len(names) > 3 and names <= scraped, names - scraped
    for name in ("fieldfit_active_version", "fieldfit_store_bytes"):
        (row,) = ask(port, "query", query=name)["result"]
        assert float(row["value"][1]) == samples[name], (row, samples[name])
    print(f"prometheus: {len(names)} metrics scraped")


def main() -> None:
    url, folder = urllib.parse.urlsplit(sys.argv[1]), Path(sys.argv[2])
    prometheus = sys.argv[3] if len(sys.argv) > 3 else "prometheus"
    folder.mkdir(parents=True)
    token, port = url.fragment.removeprefix("token="), free_port()
    (folder / "token").write_text(token)
    (folder / "prometheus.yml").write_text(CONFIGURATION.format(token=folder / "token", target=url.netloc))
    with (folder / "log").open("w") as log:
        options = [f"--config.file={folder / 'prometheus.yml'}", f"--storage.tsdb.path={folder / 'data'}"]
        process = subprocess.Popen([prometheus, *options, f"--web.listen-address=127.0.0.1:{port}"], stderr=log)
        try:
            check(port, url.netloc, token)
        finally:
            process.terminate()
            process.wait()


if __name__ == "__main__":
    main()

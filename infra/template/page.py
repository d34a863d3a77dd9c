"""The page's files and what a browser may do with them: the same from the local gateway, and from S3 and CloudFront.

``HEADERS`` are the one source: nothing but the page's own origin is loaded, nothing inline runs, nobody frames it, and no other
site learns its address, which on a laptop is a secret. The template's ResponseHeadersPolicy says the same, and a test compares.
"""

from collections.abc import Mapping
from pathlib import Path

import processors
from streamgage.errors import ConfigError

WEB_DIR = Path(processors.__path__[0]) / "live" / "web"
INDEX = "index.html"

TYPES: Mapping[str, str] = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".mjs": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".webmanifest": "application/manifest+json",
    ".txt": "text/plain; charset=utf-8",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".ico": "image/x-icon",
    ".woff2": "font/woff2",
}
"""What is served, by the end of its name; nothing else is."""

NO_CACHE = "no-cache"  # asked for again each time; an ETag that has not changed costs no body
HEADERS: Mapping[str, str] = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; font-src 'self'; connect-src 'self'; "
        "manifest-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Cache-Control": NO_CACHE,
}


def page_files(folder: Path = WEB_DIR) -> dict[str, bytes]:
    """Return the page's files by name. Raises: ConfigError, there is no page, or a file of a type that is not served."""
    try:
        files = {each.name: each.read_bytes() for each in sorted(folder.iterdir()) if each.is_file()}
    except OSError as error:
        raise ConfigError(f"{folder}: the page cannot be read ({error.strerror})") from error
    if INDEX not in files:
        raise ConfigError(f"{folder}: there is no page: it has no {INDEX}")
    if strange := [name for name in files if Path(name).suffix not in TYPES]:
        raise ConfigError(*(f"{folder / name}: not a type that a page is served with" for name in strange))
    return files

"""The page beside the API: the files of one folder, as S3 and CloudFront serve them on AWS, with the same headers."""

import hashlib
import re
from pathlib import Path

from infra.local.http.message import Request, Response
from infra.template.page import HEADERS, INDEX, TYPES

_PART = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]*")  # no hidden file, no way up
_MOST_BYTES = 8 * 1024 * 1024


class Page:
    """The page in *folder*, which may not be there."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder.resolve()

    def answer(self, request: Request, path: str) -> Response:
        """Return the file that *path* (decoded, from ``/`` on) names, to a GET or HEAD."""
        if request.method not in ("GET", "HEAD"):
            return Response(405, b"a page is asked for by GET\n", headers={**HEADERS, "Allow": "GET, HEAD"})
        file = self._file(path)
        if file is None:
            return self._missing(path)
        tag = f'"{hashlib.sha256(file[1]).hexdigest()[:32]}"'
        headers = {**HEADERS, "ETag": tag}
        if tag in re.findall(r'"[^"]*"', request.headers.get("if-none-match", "")):
            return Response(304, headers=headers)
        return Response(200, file[1], file[0], headers)

    def _file(self, path: str) -> tuple[str, bytes] | None:
        """Return the content type and the bytes of a file."""
        parts = (path[1:] or INDEX).split("/")
        if not all(_PART.fullmatch(each) for each in parts):
            return None
        place = self._folder.joinpath(*parts)
        kind = TYPES.get(place.suffix)
        try:
            if kind is None or not place.resolve().is_relative_to(self._folder) or not place.is_file():
                return None
            if place.stat().st_size > _MOST_BYTES:
                return None
            return kind, place.read_bytes()
        except (OSError, RuntimeError):  # gone meanwhile, or links that lead to each other
            return None

    def _missing(self, path: str) -> Response:
        if path == "/":
            return Response(
                404, b"there is no page in this version; the API answers under v1/\n", headers=HEADERS
            )
        return Response(404, b"there is no such file\n", headers=HEADERS)

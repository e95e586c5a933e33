"""The path of the image door. Nothing here needs numpy or Pillow: what does is imported with the first picture."""

from __future__ import annotations

import re
from collections.abc import Awaitable

from agent.serving.apart import Apart
from agent.serving.inference import Wanted
from agent.serving.messages import Request, Response, wrong_method
from agent.serving.served import Served

_MODEL = re.compile(r"/edge/v1/models/([^/]+)(?:/versions/([0-9]+))?/infer")


class Images:
    """Answers `POST /edge/v1/models/NAME[/versions/N]/infer`: the body is a JPEG, a PNG, a WAV or a `.npy` file."""

    def operation(self, request: Request, path: str) -> Wanted | None:
        """What to do with which model and version, where the request wants one to run."""
        found = _MODEL.fullmatch(path)
        if found is None or request.method != "POST":
            return None
        return _infer, found[1], found[2], None

    def __call__(self, request: Request, path: str) -> Response | Awaitable[Response] | None:
        """Answer any other request; None where the path is none of these."""
        return wrong_method("POST") if _MODEL.fullmatch(path) else None


def _infer(served: Served, request: Request, apart: Apart) -> Awaitable[Response]:
    from agent.serving.images.infer import infer

    return infer(served, request, apart)

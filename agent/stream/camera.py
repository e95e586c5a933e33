"""A camera, through OpenCV where the board has it.

The rule: a picture is of now. What the driver has kept for us is thrown away until it must wait for the next one.
"""

from __future__ import annotations

import importlib
import time
from typing import Any

from agent.contract.errors import StreamSourceFailed
from agent.stream.source import Picture

KEPT = 8
"""Pictures that a driver may have kept."""
WAITED_S = 0.005
"""A picture that took so long to come was not lying there."""
QUALITY = 90
"""Of the JPEG, 0 to 100."""


class Camera:
    """Gives what a camera sees; it is opened when it is first asked, and again after it failed.

    Args:
        number: as V4L2 counts.
    """

    def __init__(self, number: int) -> None:
        self.skipped = 0
        self._number = number
        self._name = f"camera:{number}"
        self._camera: Any = None

    def next(self, now: float) -> Picture | None:
        """See `Source`."""
        cv2 = self._opencv()
        if self._camera is None:
            self._camera = cv2.VideoCapture(self._number)
            self._camera.set(cv2.CAP_PROP_BUFFERSIZE, 1)
        if not self._grab():
            self.close()
            raise StreamSourceFailed(source=self._name, reason="it can't be opened, or gives no picture")
        there, frame = self._camera.retrieve()
        if not there:
            return None
        jpeg = cv2.imencode(".jpg", frame, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])[1]
        return Picture(jpeg.tobytes(), self._name, time.time_ns())

    def close(self) -> None:
        """Let others have it."""
        if self._camera is not None:
            self._camera.release()
            self._camera = None

    def _grab(self) -> bool:
        """Have the driver's newest picture."""
        for _ in range(KEPT):
            before = time.monotonic()
            if not self._camera.grab():
                return False
            if time.monotonic() - before >= WAITED_S:
                break
        return True

    def _opencv(self) -> Any:
        try:
            return importlib.import_module("cv2")
        except ImportError as error:
            raise StreamSourceFailed(
                source=self._name, reason="this board's runtime has no OpenCV (`cv2`)"
            ) from error

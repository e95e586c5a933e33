"""A sound that comes as a message goes where pictures go."""

from __future__ import annotations

import pytest

from agent.link.message import Message
from agent.link.reading import question
from tests.link.test_reading import TO
from tests.transforms.sounds import tone, wav


@pytest.mark.parametrize("kind", [None, "audio/wav"])
def test_a_sound_goes_to_the_door_of_pictures(kind: str | None) -> None:
    asked = question(Message(TO, wav(tone(440)), content_type=kind), "words", 0.0)

    assert asked.path == "/edge/v1/models/words/infer"

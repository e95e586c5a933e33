"""How long what runs on a board may be silent or take: the same numbers for systemd's units and for our supervisor.

The rule: who keeps a program running ends it when its time is over, whatever it is doing; the program is started
again with a pause, and an attempt of an update that ends so was counted before it began.
"""

from __future__ import annotations

START_TIMEOUT_S = 300
"""From the start of an agent until it listens."""
WATCHDOG_S = 120
"""An event loop that does not turn for this long is hung; importing an engine on a slow board takes 30 s."""
STOP_TIMEOUT_S = 20
"""An agent that is asked to end and does not is killed; it drains its clients first."""
RECOVER_TIMEOUT_S = 120
"""What `recover` may take: the agent waits for it."""
UPDATE_TIMEOUT_S = 600
"""An update process that has said nothing: then it asks for more time, phase by phase (`agent.update.deadline`)."""

from __future__ import annotations

import json
import socket
import textwrap
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.contract.errors import AlertRuleInvalid
from agent.contract.messages import Presence
from edge.telemetry.alerting import Alerts, tell
from edge.telemetry.alerts import FIELDS, Rule, State, evaluate, read_rules
from edge.telemetry.records import BoardNow, BoardWindow, LinkState
from tests.house.tree import ROOT
from tests.telemetry.boards import PI, model, open_store, sample, telemetry, usual_board

HOT = Rule(
    name="hot", when="temperature_c > 80", field="temperature_c", comparison=">", threshold=80, for_s=3
)


def board(temperature_c: float | None, *, silent_s: float = 0.0) -> BoardNow:
    window = None
    if temperature_c is not None:
        now = usual_board(temperature_c=temperature_c)
        window = BoardWindow(seconds=1, cpu_percent=1.0, agent_cpu_percent=1.0, now=now)
    return BoardNow(
        device=PI, presence=Presence.ONLINE, boot=None, agent_version=None, profile=None, models=(),
        last_seen=None, window=window, rates=(), gaps=0, breaks=0, reported=None,
        link=LinkState(tunnel="up", reason=None, silent_s=silent_s, backlog=False),
    )  # fmt: skip


def told(rule: Rule, temperatures: list[float | None]) -> list[tuple[int, bool]]:
    """When, by the second, an alert began (True) and ended (False)."""
    state: State = {}
    found = []
    for second, temperature in enumerate(temperatures):
        state, changes = evaluate([rule], [board(temperature)], state, now=float(second))
        found += [(second, change.begins) for change in changes]
    return found


def test_an_alert_begins_once_when_it_held_for_so_long_and_ends_once() -> None:
    assert told(HOT, [20, 90, 90, 90, 90, 90, 90, 20, 20, 90]) == [(4, True), (7, False)]


def test_a_short_peak_is_no_alert() -> None:
    assert told(HOT, [90, 90, 90, 20, 90, 90, 90, 20]) == []


def test_what_is_not_known_neither_begins_nor_ends_anything() -> None:
    assert told(HOT, [90, 90, None, 90, 90]) == []
    assert told(HOT, [90, 90, 90, 90, None, None, 90, 20]) == [(3, True), (7, False)]


def test_a_board_or_a_rule_that_is_gone_is_forgotten() -> None:
    state, _ = evaluate([HOT], [board(90)], {}, now=0.0)
    assert evaluate([], [board(90)], state, now=9.0) == ({}, ())
    assert evaluate([HOT], [], state, now=9.0) == ({}, ())


@given(st.lists(st.sampled_from([20.0, 90.0, None]), max_size=40), st.integers(0, 5))
def test_begins_and_ends_take_turns_and_every_begin_was_earned(
    temperatures: list[float | None], for_s: int
) -> None:
    rule = Rule(name="hot", when="", field="temperature_c", comparison=">", threshold=80, for_s=for_s)
    changes = told(rule, temperatures)
    assert [begins for _, begins in changes] == [n % 2 == 0 for n in range(len(changes))]
    for second, begins in changes:
        if begins:
            assert temperatures[second - for_s : second + 1] == [90.0] * (for_s + 1)
        else:
            assert temperatures[second] == 20.0


def test_a_clock_that_goes_back_does_not_make_an_alert_wait_for_ever() -> None:
    state, _ = evaluate([HOT], [board(90)], {}, now=1000.0)
    state, _ = evaluate([HOT], [board(90)], state, now=10.0)
    _, changes = evaluate([HOT], [board(90)], state, now=13.0)
    assert [change.begins for change in changes] == [True]


def test_every_field_can_be_asked_of_every_board() -> None:
    for value in FIELDS.values():
        value(board(None))
        value(board(50.0))


def test_the_documentation_names_every_field_and_its_rule_is_one(tmp_path: Path) -> None:
    text = (ROOT / "docs" / "telemetry.md").read_text()
    assert [name for name in FIELDS if f"`{name}`" not in text] == []
    shown = textwrap.dedent(text[text.index("    [too-hot]") :].split("\n\n")[0])
    (tmp_path / "alerts.toml").write_text(shown)
    (rule,) = read_rules(tmp_path / "alerts.toml")
    assert (rule.field, rule.threshold, rule.mqtt) == ("temperature_c", 80, "alerts/home")


def test_rules_are_read_as_they_are_written(tmp_path: Path) -> None:
    path = tmp_path / "alerts.toml"
    assert read_rules(path) == ()
    path.write_text(
        '[hot]\nwhen = "temperature_c>80"\nfor_s = 3\ncommand = ["a", "b"]\nmqtt = "alerts/home"\n'
    )
    (rule,) = read_rules(path)
    assert (rule.field, rule.comparison, rule.threshold, rule.for_s) == ("temperature_c", ">", 80.0, 3.0)
    assert (rule.command, rule.mqtt, rule.webhook) == (("a", "b"), "alerts/home", None)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[hot", "hot|Expected"),
        ("hot = 1", "section"),
        ("[hot]", "must be like"),
        ('[hot]\nwhen = "temperature_c is high"', "must be like"),
        ('[hot]\nwhen = "temprature_c > 80"', "did you mean `temperature_c`"),
        ('[hot]\nwhen = "temperature_c > nan"', "must be like"),
        ('[hot]\nwhen = "gaps > 0"\nfor = 3', "did you mean `for_s`"),
        ('[hot]\nwhen = "gaps > 0"\nfor_s = "3"', "for_s"),
        ('[hot]\nwhen = "gaps > 0"\nfor_s = nan', "for_s"),
        ('[hot]\nwhen = "gaps > 0"\ncommand = "rm"', "list"),
        ('[hot]\nwhen = "gaps > 0"\nwebhook = "file:///etc/passwd"', "URL"),
        ('[hot]\nwhen = "gaps > 0"\nmqtt = "edge/v1/x"', "below `alerts/`"),
        ('[hot]\nwhen = "gaps > 0"\nmqtt = "alerts/#"', "wildcards"),
        ('["Hot!"]\nwhen = "gaps > 0"', "can't name"),
    ],
)
def test_a_rule_that_can_not_be_is_an_error_that_says_why(tmp_path: Path, text: str, reason: str) -> None:
    path = tmp_path / "alerts.toml"
    path.write_text(text)
    with pytest.raises(AlertRuleInvalid, match=reason):
        read_rules(path)


@pytest.fixture
def hook() -> Iterator[tuple[str, list[dict[str, object]]]]:
    """A web server, and what was posted to it."""
    posted: list[dict[str, object]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            posted.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            return

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}/", posted
    server.shutdown()
    server.server_close()


def test_webhook_command_and_mqtt_are_told_once_even_over_a_restart(
    tmp_path: Path, hook: tuple[str, list[dict[str, object]]]
) -> None:
    url, posted = hook
    ran, rules = tmp_path / "ran", tmp_path / "alerts.toml"
    rules.write_text(
        f'[busy]\nwhen = "p95_ms > 3"\nwebhook = "{url}"\nmqtt = "alerts/home"\n'
        f'command = ["sh", "-c", "cat >> {ran}; echo >> {ran}"]\n'
    )
    published: list[tuple[str, bytes]] = []

    def seen() -> bool:
        return bool(posted and published and ran.exists() and ran.read_text().endswith("\n"))

    now = time.time()
    for _ in range(2):
        with open_store(tmp_path / "store.sqlite") as store:
            alerts = Alerts(rules, lambda topic, body: published.append((topic, body)))
            store.ingest([telemetry([sample(1, models=[model(9)]), sample(2, models=[model(20)])], rx=now)])
            alerts.tick(store, {PI: "pi"})
            assert alerts.tick(store, {PI: "pi"}) == (), "it is not time yet"
            deadline = time.monotonic() + 10
            while not seen() and time.monotonic() < deadline:
                time.sleep(0.02)
    (document,) = posted
    assert (document["alert"], document["device"], document["state"]) == ("busy", "pi", "begins")
    assert [(topic, json.loads(body)) for topic, body in published] == [("alerts/home", document)]
    assert json.loads(ran.read_text()) == document


def test_rules_that_become_invalid_leave_those_before_them_at_work(tmp_path: Path) -> None:
    rules = tmp_path / "alerts.toml"
    rules.write_text('[gaps]\nwhen = "gaps > 0"\n')
    with open_store(tmp_path / "store.sqlite") as store:
        Alerts(rules, lambda *_: None).tick(store, {PI: "pi"})
        alerts = Alerts(rules, lambda *_: None)
        alerts.tick(store, {PI: "pi"})
        rules.write_text("[gaps")
        store.ingest([telemetry([5], gaps=[(1, 4)])])
        deadline = time.monotonic() + 10
        while not (changes := alerts.tick(store, {PI: "pi"})) and time.monotonic() < deadline:
            time.sleep(0.05)
    assert [change.rule.name for change in changes] == ["gaps"]


def test_a_webhook_that_answers_nonsense_and_a_command_that_cannot_be_end_nothing(tmp_path: Path) -> None:
    told: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=_answer_nonsense, args=(server,), daemon=True).start()
        path = tmp_path / "alerts.toml"
        path.write_text(
            f'[x]\nwhen = "gaps > 0"\nwebhook = "http://127.0.0.1:{server.getsockname()[1]}/"\n'
            'command = ["a\\u0000b"]\nmqtt = "alerts/home"\n'
        )
        (rule,) = read_rules(path)
        tell(rule, {}, lambda _topic, body: told.append(body))
    assert told == [b"{}"]


def _answer_nonsense(server: socket.socket) -> None:
    caller, _ = server.accept()
    with caller:
        caller.recv(65536)
        caller.sendall(b"this is no HTTP\r\n\r\n")

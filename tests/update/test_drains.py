"""Updates under load, on a board that runs the real agent, its engine, updater and supervisor: no request fails."""

from __future__ import annotations

import http.client
import json
import shutil
import sysconfig
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

import pytest

from agent.contract.codec import decode
from agent.contract.manifest import BundleManifest
from agent.contract.release import Release
from agent.contract.states import UpdateState
from agent.transforms.golden import GoldenSet
from edge.config import FleetFolder
from edge.identity import KeyRing
from edge.repository import Repository
from tests.agent.boards import DIGITS, MODELS, PROBABILITIES, digits, write_bundle
from tests.update.bundles import Bundle
from tests.update.world import QUICK, ROOT, Blobs, Board, Fleet, passphrase, wait_until

pytestmark = pytest.mark.bed

TERMS = replace(QUICK, probation_s=1.0, start_timeout_s=60.0, latency_factor=1e5, memory_factor=1e5)
BODY = json.dumps({"inputs": [{"name": "x", "shape": [1, 64], "datatype": "FP32", "data": [0.5] * 64}]})
ENOUGH = 60


@dataclass
class Load:
    """Clients that ask all the time: some with a new connection each time, some with one that they keep."""

    port: int
    answers: list[str] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    stop: threading.Event = field(default_factory=threading.Event)

    def ask(self, keeps: bool) -> None:
        kept = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30) if keeps else None
        while not self.stop.is_set():
            connection = kept or http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
            try:
                connection.request("POST", "/v2/models/digits/infer", BODY)
                answer = connection.getresponse()
                said = json.loads(answer.read())
                if answer.status == 200:
                    self.answers.append(said["model_version"])
                else:
                    self.failures.append(f"{answer.status} {said}")
            except (OSError, http.client.HTTPException) as error:
                self.failures.append(f"{'kept' if keeps else 'new'}: {error!r}")
            finally:
                if kept is None:
                    connection.close()
            time.sleep(0.01)

    def more(self) -> None:
        enough = len(self.answers) + ENOUGH
        wait_until(lambda: len(self.answers) >= enough, "more answers", timeout=60)


@contextmanager
def load(board: Board) -> Iterator[Load]:
    """Clients from before an update until after it."""
    clients = Load(json.loads((board.root / "run/agent.json").read_bytes())["port"])
    threads = [threading.Thread(target=clients.ask, args=(keeps,)) for keeps in (False, False, True, True)]
    for thread in threads:
        thread.start()
    try:
        clients.more()
        yield clients
        clients.more()
    finally:
        clients.stop.set()
        for thread in threads:
            thread.join()


@pytest.fixture(scope="module")
def board(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Board]:
    """A board whose layers are this tree and this environment, under the digests of small stand-ins."""
    work = tmp_path_factory.mktemp("drains")
    blobs = Blobs(work / "blobs")
    agent = blobs.add_layer("edge-agent", "0.1.0", {"stands-for": b"the agent of this tree"})
    packages = blobs.add_layer("packages", "1.0.0", {"stands-for": b"this environment"})
    runtime, data = blobs.runtime(agent, packages)
    data = data.replace(b'"engine":"litert"', b'"engine":"onnxruntime"').replace(b'"2.3.0"', b'"1.99.0"')
    runtime = blobs.write(data)
    folder = FleetFolder.create(work / "fleet", "kitchen")
    keys = KeyRing(folder.keys)
    keys.create(passphrase)
    repository = Repository.create(folder.repository, keys, passphrase)
    repository.add_runtime(
        data, {one.sha256: blobs.folder / "blobs" / one.sha256 for one in (agent, packages)}
    )
    (work / "placed/objects").mkdir(parents=True)
    fleet = Fleet(
        folder=folder, keys=keys, repository=repository, runtime=runtime, runtime_bytes=data, blobs=blobs,
        agent=agent, packages=packages, work=work,
    )  # fmt: skip
    made = Board(work / "board", fleet, work / "placed")
    objects = made.root / "objects"
    (objects / agent.sha256).mkdir()
    (objects / agent.sha256 / "agent").symlink_to(ROOT / "agent")
    (objects / packages.sha256).symlink_to(sysconfig.get_paths()["purelib"])
    (objects / runtime).mkdir()
    (objects / runtime / "manifest.json").write_bytes(data)
    config = json.loads((made.root / "board.json").read_bytes())
    (made.root / "board.json").write_text(json.dumps({**config, "profile": "generic-linux-x86-64"}))
    made.supervise()
    yield made
    made.stop()


def publish(board: Board, samples: int) -> Release:
    """The digits model with a golden set of so many samples: another bundle each time."""
    work = board.fleet.work / f"bundle-{samples}"
    digest = write_bundle(
        work, model_file=MODELS / "digits.onnx", golden=GoldenSet(inputs=(digits(samples),)), inputs=[DIGITS],
        outputs=[PROBABILITIES],
    )  # fmt: skip
    data = (work / digest / "manifest.json").read_bytes()
    bundle = Bundle(
        manifest=decode(BundleManifest, data), manifest_bytes=data, digest=digest, folder=work / digest
    )
    release = board.fleet.repository.publish("digits", [bundle], force=True)
    shutil.rmtree(work)
    return release


def test_an_update_under_load_fails_no_request(board: Board) -> None:
    report = board.flash(1, publish(board, 10), terms=TERMS)
    assert report.state is UpdateState.CONFIRMED, report.message
    with load(board) as clients:
        report = board.flash(2, publish(board, 11), terms=TERMS)
        assert report.state is UpdateState.CONFIRMED, report.message
    assert clients.failures == []
    assert (clients.answers[0], clients.answers[-1]) == ("1", "2")


def test_a_rollback_under_load_fails_no_request(board: Board) -> None:
    second = publish(board, 11)
    if not (board.root / "current").is_symlink():
        board.flash(2, second, terms=TERMS)
    served = board.report.current
    assert served is not None
    with load(board) as clients:
        board.assign(3, publish(board, 12), terms=replace(TERMS, probation_s=600.0))
        board.push("third")
        wait_until(lambda: board.report.state is UpdateState.PROBATION, "the third is on trial", timeout=60)
        wait_until(lambda: clients.answers[-1] not in clients.answers[:1], "the third serves", timeout=60)
        report = board.flash(4, terms=TERMS, generation=replace(served, number=4))
        assert report.history[0].state in (UpdateState.ROLLED_BACK, UpdateState.CONFIRMED)
        assert any(entry.counter == 3 and entry.state is UpdateState.ROLLED_BACK for entry in report.history)
        before = clients.answers[0]
        wait_until(lambda: clients.answers[-1] == before, "what served before serves again", timeout=60)
    assert clients.failures == []
    assert len(set(clients.answers)) == 2
    assert clients.answers[-1] == clients.answers[0]

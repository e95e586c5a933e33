"""`edge broker config`: what it writes and says. What its mosquitto does is shown by the conformance tests."""

from __future__ import annotations

import json
import socket
import ssl
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

from edge.certificates import CertificateAuthority
from edge.cli.main import cli
from edge.config import FleetFolder
from edge.settings import parse
from tests.collector.conftest import own_mosquitto

Pairs = Callable[[str], tuple[Path, Path]]


@pytest.fixture
def fleet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FleetFolder:
    folder = FleetFolder.create(tmp_path / "f", "demo")
    monkeypatch.chdir(folder.path)
    return folder


def test_it_says_what_to_do_in_words_that_edge_toml_understands(fleet: FleetFolder, tmp_path: Path) -> None:
    done = CliRunner().invoke(
        cli, ["broker", "config", str(tmp_path / "out"), "--host", "10.0.0.5", "--at", "/etc/mosquitto/edge"]
    )
    assert done.exit_code == 0, done.output
    said = done.output[done.output.index("  [mqtt]") :]
    section = "\n".join(line.strip() for line in said.splitlines()[:3])
    config = parse(f'[fleet]\nname = "demo"\n{section}', path=Path("edge.toml"))
    assert config.mqtt_url == "mqtts://10.0.0.5:8883"
    assert (fleet.path / config.mqtt_ca).read_text() == (tmp_path / "out" / "ca.pem").read_text()
    written = (tmp_path / "out" / "edge.conf").read_text()
    assert "acl_file /etc/mosquitto/edge/acl\n" in written
    assert (tmp_path / "out" / "server.key").stat().st_mode & 0o777 == 0o600
    assert not list((tmp_path / "out").glob("*ca.key"))


def test_the_name_comes_from_edge_toml_when_it_stands_there(fleet: FleetFolder, tmp_path: Path) -> None:
    text = fleet.edge_toml.read_text().replace('url = ""', 'url = "mqtts://broker.example:9000"')
    fleet.edge_toml.write_text(text)
    done = CliRunner().invoke(cli, ["broker", "config", str(tmp_path / "out"), "--json"])
    assert json.loads(done.stdout)["url"] == "mqtts://broker.example:9000"
    assert "listener 9000\n" in (tmp_path / "out" / "edge.conf").read_text()


@pytest.mark.parametrize("host", [None, "", "a b", "x\npersistence true", "-x"])
def test_without_a_host_name_it_says_so(fleet: FleetFolder, tmp_path: Path, host: str | None) -> None:
    arguments = ["broker", "config", str(tmp_path / "out")]
    done = CliRunner().invoke(cli, arguments if host is None else [*arguments, "--host", host])
    assert "host name" in str(done.exception)
    assert not (tmp_path / "out").exists()


def test_the_name_in_the_certificate_is_the_one_that_boards_look_up(
    tmp_path: Path, authority: CertificateAuthority, pairs: Pairs
) -> None:
    with own_mosquitto(tmp_path, authority) as broker:
        context = ssl.create_default_context(cafile=broker.ca_file)
        context.load_cert_chain(*pairs("b-1"))
        for name, right in (("localhost", True), ("127.0.0.1", True), ("other.example", False)):
            link = socket.create_connection((broker.host, broker.port), 5)
            try:
                context.wrap_socket(link, server_hostname=name).close()
                assert right
            except ssl.SSLCertVerificationError:
                assert not right

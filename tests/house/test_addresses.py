"""No file names a package registry's host or a path of the machine it was written on."""

from __future__ import annotations

import re

import pytest

from tests.house.tree import ROOT, shown, tracked_files, tracked_links

# Written in pieces, so that this file does not name them either.
REFUSED = re.compile(
    "|".join(
        [
            "pypi" + r"\.org",
            "python" + r"hosted\.org",
            "piwheels" + r"\.org",
            "npmjs" + r"\.(org|com)",
            "anaconda" + r"\.(org|com)",
            "download" + r"\.pytorch\.org",
            "pypi" + r"\.(nvidia|ngc|jetson)[\w.-]*",
            "deb" + r"\.debian\.org",
            r"-?index[-_]url\s*[=: ]\s*\S+:/" + "/",
            r"(https?|file):/" + r"/\S+/simple\b",
            r"(?<![\w.<>$}-])/" + "work/",
            r"\.py" + "env/",
            r"(?<![\w.])/opt/" + "(wheels|pypi)",
        ]
    )
)


def test_no_tracked_file_names_a_registry_or_this_machine() -> None:
    found = []
    for file in tracked_files():
        text = file.read_bytes().decode("utf-8", "replace")
        for match in REFUSED.finditer(text):
            line = text.count("\n", 0, match.start()) + 1
            found.append(f"{shown(file)}:{line}: {match.group()}")
    assert not found


@pytest.mark.parametrize(
    "pieces",
    [
        ("https://pypi", ".org/project/tuf"),
        ("--extra-index-url https", "://example.invalid/x"),
        ("https://mirror.invalid/root", "/simple/"),
        ("/wo", "rk/main"),
        ("/root/.py", "env/versions"),
    ],
)
def test_an_address_is_found(pieces: tuple[str, str]) -> None:
    assert REFUSED.search("".join(pieces))


def test_links_stay_inside_the_tree() -> None:
    for link in tracked_links():
        assert link.resolve().is_relative_to(ROOT), shown(link)

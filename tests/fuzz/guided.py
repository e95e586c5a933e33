"""One parser under atheris: libFuzzer's mutations, guided by which lines of the agent they reach.

    python -m tests.fuzz.guided PARSER FOLDER INPUTS SEED

It ends with 0 after so many inputs. An exception, an input that takes 20 s, or 2 GB of memory end it otherwise; the
input then lies in FOLDER.
"""

from __future__ import annotations

import sys
from pathlib import Path

import atheris

SECONDS = 20
MEGABYTES = 2048


def main(arguments: list[str]) -> None:
    """Never returns."""
    name, folder, inputs, seed = arguments[0], Path(arguments[1]), arguments[2], arguments[3]
    with atheris.instrument_imports(include=["agent"]):
        from tests.fuzz.parsers import parsers
    from tests.fuzz.seeds import WORDS, seeds

    corpus = folder / "corpus"
    corpus.mkdir(parents=True)
    for number, data in enumerate(seeds()[name]):
        (corpus / f"seed-{number}").write_bytes(data)
    words = folder / "words"
    words.write_text("".join('"' + "".join(f"\\x{byte:02x}" for byte in word) + '"\n' for word in WORDS))
    options = [
        f"-runs={inputs}", f"-seed={seed}", f"-timeout={SECONDS}", f"-rss_limit_mb={MEGABYTES}", "-max_len=4096",
        f"-dict={words}", f"-artifact_prefix={folder}/", "-print_final_stats=1", str(corpus),
    ]  # fmt: skip
    atheris.Setup([sys.argv[0], *options], parsers(folder)[name])
    atheris.Fuzz()


if __name__ == "__main__":
    main(sys.argv[1:])

"""One parser in a process of its own: guided by which lines of the agent its inputs reach (atheris), or not.

    python -m tests.fuzz.one PARSER FOLDER INPUTS SEED guided|unguided

It ends with 0 after so many inputs. An exception, an input that takes 20 s, or 2 GB of memory end it otherwise; the
input then lies in FOLDER.
"""

from __future__ import annotations

import faulthandler
import resource
import sys
from pathlib import Path

from tests.fuzz.mutation import mutated
from tests.fuzz.seeds import WORDS, seeds

SECONDS = 20
MEGABYTES = 2048


def guided(name: str, folder: Path, inputs: str, seed: str) -> None:
    """Never returns."""
    import atheris

    with atheris.instrument_imports(include=["agent"]):
        from tests.fuzz.parsers import parsers

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


def unguided(name: str, folder: Path, inputs: str, seed: str) -> None:
    """As libFuzzer does: says at its end how many there were, and how much memory they took."""
    from tests.fuzz.parsers import parsers

    folder.mkdir(parents=True)
    parse, under_way = parsers(folder)[name], folder / "under-way"
    resource.setrlimit(resource.RLIMIT_DATA, (MEGABYTES << 20, MEGABYTES << 20))
    for data in mutated(seeds()[name], int(inputs), seed=int(seed)):
        faulthandler.dump_traceback_later(SECONDS, exit=True)
        try:
            parse(data)
        except BaseException:
            under_way.write_bytes(data)
            raise
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
    print(f"stat::number_of_executed_units: {inputs}\nstat::peak_rss_mb: {peak}", file=sys.stderr)


def main(arguments: list[str]) -> None:
    """Run it."""
    name, folder, inputs, seed, how = arguments
    {"guided": guided, "unguided": unguided}[how](name, Path(folder), inputs, seed)


if __name__ == "__main__":
    main(sys.argv[1:])

"""`--report FILE.html`: the reports of a conversion as one file that needs nothing else.

The rule: it shows what `report.json` holds, or why there is none, and reads nothing more; no script, no picture, no
font from elsewhere, so that it can be mailed and opened in ten years. It lies where the user wants it and not in the
bundle: a board has no use for it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from edge.conversion import plot
from edge.conversion.report import candidates
from edge.conversion.request import ConversionOutcome, ProfileResult

STYLE = """
:root{color-scheme:light dark;--ink:#1c2430;--soft:#5c6675;--line:#d5dae2;--paper:#fff;--good:#177245;
--bad:#b3382c;--mark:#2f6fd6}
@media(prefers-color-scheme:dark){:root{--ink:#e6eaf0;--soft:#9aa5b5;--line:#38414f;--paper:#12161c;--good:#4fc98a;
--bad:#ff8a7a;--mark:#7fb0ff}}
*{box-sizing:border-box}body{margin:0 auto;padding:1.2rem;max-width:78rem;background:var(--paper);color:var(--ink);
font:16px/1.5 system-ui,sans-serif}h1{font-size:1.5rem;margin:2.5rem 0 .2rem}h2{font-size:1.1rem;margin:2rem 0 .5rem}
p,li{max-width:48rem}.soft{color:var(--soft)}.wide{overflow-x:auto}table{border-collapse:collapse;
font-size:.9rem;width:100%}
th,td{text-align:left;padding:.35rem .7rem .35rem 0;border-bottom:1px solid var(--line);white-space:nowrap;
vertical-align:top}
td.number,th.number{text-align:right}td.text{white-space:normal;min-width:12rem}tr.taken td{font-weight:600}
.verdict{font-weight:600}.within{color:var(--good)}.outside,.refused{color:var(--bad)}
svg{width:100%;height:auto;max-width:34rem;display:block;font:12px system-ui,sans-serif}svg text{fill:var(--ink)}
.axis{fill:none;stroke:var(--soft)}.zero{fill:none;stroke:var(--line);stroke-dasharray:4 4}
.taken circle{fill:var(--good);fill-opacity:.85}.fits circle{fill:var(--mark);fill-opacity:.55}
.misses circle{fill:none;stroke:var(--bad);stroke-width:2}.bar{fill:var(--mark);fill-opacity:.7}
svg text.inside{fill:var(--paper)}rect.right{fill:var(--good)}rect.wrong{fill:var(--bad)}
"""


def page(outcome: ConversionOutcome) -> str:
    """The page, each profile on it: its report, or why it has none."""
    title = escape(f"{outcome.model}: what the conversion cost")
    inner = "".join(
        _profile(result.report) if result.report is not None else _refused(outcome.model, result)
        for result in outcome.results
    )
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{title}</title><style>{STYLE}</style></head><body>{inner}</body></html>\n"
    )


def _profile(report: Mapping[str, Any]) -> str:
    parts = [
        _heading(report["model"], report["profile"]),
        _summary(report),
        _section("Candidates", plot.pareto(report["candidates"]) + _candidates(report["candidates"])),
        _section("Repairs tried", _repairs(report["candidates"])),
        _section("What each layer loses when it alone is quantized", plot.layers(report["layers"])),
        _section(
            "Confusion matrix: true classes in rows",
            plot.confusion(report["confusion"] or (), report["labels"]),
        ),
        _section("Notes", _list(report["notes"])),
        _section("Time and memory of the stages", _stages(report["stages"])),
    ]
    return "".join(parts)


def _refused(model: str, result: ProfileResult) -> str:
    """A profile for which there is no artifact."""
    rows, error = candidates(result.candidates), result.error
    hint = f"<p class=soft>{escape(error.hint)}</p>" if error is not None and error.hint else ""
    return (
        f"{_heading(model, result.profile)}"
        f'<p><span class="verdict refused">refused</span>: {escape(str(error or "nothing was made"))}</p>{hint}'
        f"{_section('Candidates', _candidates(rows) if rows else '')}"
    )


def _heading(model: str, profile: str) -> str:
    return f"<h1>{escape(model)} for {escape(profile)}</h1>"


def _summary(report: Mapping[str, Any]) -> str:
    verdict, accuracy = report["verdict"], report["accuracy"]
    said = f'<span class="verdict {escape(verdict)}">{escape(verdict)}</span>'
    if accuracy is not None:
        said += (
            f": {escape(accuracy['metric'])} {accuracy['accuracy']:.4f} on {_samples(accuracy)}, the float model"
            f" {accuracy['float_accuracy']:.4f}; lost {accuracy['drop_points']:+.2f} points (95 % interval"
            f" {accuracy['low']:+.2f} to {accuracy['high']:+.2f}), the budget is {accuracy['budget_points']:.2f}."
        )
    elif report["agreement"]["value"] is not None:
        agreement = report["agreement"]
        said += f": agreement {agreement['value']:.1%} on {_samples(agreement)}; without labels, no accuracy."
    size = f"{report['artifact']['size_bytes']:,} bytes {report['artifact']['format']}"
    return f"<p>{said}</p><p class=soft>{size}, from {escape(report['source']['file'])}</p>"


def _samples(found: Mapping[str, Any]) -> str:
    return f"{found['samples']:,} sample{'s' * (found['samples'] != 1)}"


def _candidates(rows: Sequence[Mapping[str, Any]]) -> str:
    heads = (
        "recipe",
        "size",
        "points lost",
        "95 %",
        "agreement",
        "p50 here",
        "p50 board",
        "memory",
        "verdict",
        "why",
    )
    lines = []
    for row in rows:
        drop = row["drop"]
        cells = (
            f"{row['size_bytes']:,}" if row["size_bytes"] else "–",
            f"{drop['drop_points']:+.2f}" if drop else "–",
            f"{drop['low']:+.2f} … {drop['high']:+.2f}" if drop else "–",
            f"{row['agreement']:.1%}" if row["agreement"] is not None else "–",
            _number(row["p50_ms"], "ms"),
            _number(row["board_p50_ms"], "ms"),
            _number(row["memory_mb"], "MB"),
        )
        numbers = "".join(f"<td class=number>{cell}</td>" for cell in cells)
        verdict = escape(row["verdict"])
        lines.append(
            f"<tr{' class=taken' if row['chosen'] else ''}><td>{escape(row['recipe'])}</td>{numbers}"
            f'<td class="{verdict}">{verdict}</td><td class=text>{escape(row["reason"])}</td></tr>'
        )
    numeric = "".join(
        f"<th{' class=number' if 0 < index < 8 else ''}>{head}</th>" for index, head in enumerate(heads)
    )
    return f"<div class=wide><table><tr>{numeric}</tr>{''.join(lines)}</table></div>"


def _repairs(rows: Sequence[Mapping[str, Any]]) -> str:
    lines = [
        f"<tr><td>{escape(row['recipe'])}</td><td>{escape(rung['name'])}</td><td class=number>"
        f"{_number(rung.get('drop_points'), 'points')}</td><td class=text>{escape(rung['reason'])}</td></tr>"
        for row in rows
        for rung in (row["rungs"] if len(row["rungs"]) > 1 else ())
    ]
    if not lines:
        return ""
    head = "<tr><th>recipe</th><th>repair</th><th class=number>lost</th><th>why not</th></tr>"
    return f"<div class=wide><table>{head}{''.join(lines)}</table></div>"


def _stages(stages: Sequence[Mapping[str, Any]]) -> str:
    lines = "".join(
        f"<tr><td>{escape(stage['name'])}</td><td class=number>{stage['seconds']:.2f} s</td>"
        f"<td class=number>{stage['peak_memory_mb']:,.0f} MB</td></tr>"
        for stage in stages
    )
    return f"<div class=wide><table>{lines}</table></div>" if lines else ""


def _list(notes: Sequence[str]) -> str:
    return f"<ul>{''.join(f'<li>{escape(note)}</li>' for note in notes)}</ul>" if notes else ""


def _number(value: float | None, unit: str) -> str:
    return "–" if value is None else f"{value:.3f} {unit}"


def _section(title: str, inner: str) -> str:
    return f"<h2>{escape(title)}</h2>{inner}" if inner else ""

"""Where time and joules went, the machine, the recipe and the artefacts."""

from __future__ import annotations

from sparing.measure import cost
from sparing.measure.cost import Cost
from sparing.measure.ledger import Row
from sparing.report import figures, markup
from sparing.report.figures import ONE, TWO, Bars
from sparing.report.gather import RunParts, at, chain_total, figure_at
from sparing.report.markup import Column, Html, escape


def section(parts: RunParts) -> Html:
    """Time, energy, carbon and money per stage."""
    rows = [row for row in parts.rows if row.cost is not None]
    if not rows:
        return markup.section("spending", "Cost", markup.absent("A ledger"))
    return markup.section(
        "spending", "Cost", _drawing(rows), _table(rows), *_chain(parts), *_methods(rows)
    )


def _drawing(rows: list[Row]) -> Html:
    costs = [row.cost for row in rows if row.cost is not None]
    label = cost.total(costs).energy_label
    names = [_stage(row) for row in rows]
    time = Bars(
        "Wall time",
        [spent.seconds for spent in costs],
        [markup.seconds(spent.seconds) for spent in costs],
        colour=ONE,
    )
    energy = Bars(
        f"Energy, {label}",
        [spent.joules for spent in costs],
        [markup.joules(spent.joules) for spent in costs],
        low=[spent.joules_low for spent in costs],
        high=[spent.joules_high for spent in costs],
        colour=TWO,
    )
    words = "Gross energy of each stage."
    if label == "estimated":
        words += " Lines on the bars: the range of the estimate."
    return markup.side_by_side(
        markup.figure(figures.bars(names, time, name="time"), "How long each stage took."),
        markup.figure(figures.bars(names, energy, name="energy"), words),
    )


def _table(rows: list[Row]) -> Html:
    costs = [row.cost for row in rows if row.cost is not None]
    total = cost.total(costs)
    priced = any(spent.money is not None for spent in costs)
    body = [_line(_stage(row), row.cost, row, priced) for row in rows if row.cost is not None]
    columns = [Column("stage", numeric=False)]
    columns += [Column(name) for name in ("wall", "CPU", "peak memory", "read, written")]
    columns += [Column("tokens"), Column("FLOP"), Column("energy"), Column("above idle")]
    columns += [Column("energy is", numeric=False), Column("CO2e")]
    columns += [Column("money")] if priced else []
    return markup.table(columns, body, total=_line("sum", total, None, priced))


def _stage(row: Row) -> str:
    """Its name, and what became of it when it did not finish."""
    return row.stage if row.status == "finished" else f"{row.stage} ({row.status})"


def _line(name: str, spent: Cost, row: Row | None, priced: bool) -> list[Html | str]:
    cells = [
        name,
        markup.seconds(spent.seconds),
        markup.seconds(spent.cpu_seconds),
        markup.size(spent.peak_rss_bytes),
        _below(markup.size(spent.read_bytes), markup.size(spent.written_bytes)),
        markup.count(row.tokens) if row and row.tokens else "\u2013",
        markup.count(row.flops) if row else "\u2013",
        _energy(spent),
        markup.joules(spent.joules_net),
        markup.label_chip(spent.energy_label),
        markup.grams(spent.gco2e),
    ]
    return [*cells, markup.money(spent.money, spent.currency)] if priced else cells


def _below(first: str, second: str) -> Html:
    return Html(f'{escape(first)} <span class="range">{escape(second)}</span>')


def _energy(spent: Cost) -> Html | str:
    low, high = spent.joules_low, spent.joules_high
    text = markup.joules(spent.joules)
    if low is None or high is None or high <= low:
        return text
    return _below(text, f"{markup.joules(low)} to {markup.joules(high)}")


def _chain(parts: RunParts) -> list[Html]:
    """What the last model cost with everything it was made from."""
    found = chain_total(parts)
    if found is None or not found.rows:
        return []
    total, stages = found.total, ", ".join(row.stage for row in found.rows)
    words = (
        f"The last model of this run cost {markup.seconds(total.seconds)} and "
        f"{markup.joules(total.joules)} ({total.energy_label}), {markup.grams(total.gco2e)} CO2e, "
        f"to make, along its parents: {stages}."
    )
    return [markup.paragraph(words)]


def _methods(rows: list[Row]) -> list[Html]:
    total = cost.total([row.cost for row in rows if row.cost is not None])
    return [
        markup.pairs(
            [
                ("energy", f"{total.energy_method}."),
                ("idle draw", f"{total.energy_idle}."),
                ("carbon", f"{total.carbon_method}; operational only, location-based."),
                ("bytes", "through read and write calls, page cache included, mapped files not."),
            ]
        )
    ]


def recipe(parts: RunParts) -> Html:
    """The resolved recipe and the artefacts."""
    blocks: list[Html | str] = []
    if parts.recipe is None:
        blocks.append(markup.absent("A recipe"))
    else:
        text = escape(parts.recipe.strip())
        blocks.append(
            Html(f"<details open><summary>recipe.toml</summary><pre>{text}</pre></details>")
        )
    if parts.artefacts:
        rows = [
            (
                name,
                artefact.kind,
                markup.size(sum(figure_at(f, "bytes") or 0 for f in artefact.files.values())),
                Html(f"<code>{escape(artefact.content_hash[:16])}</code>"),
                ", ".join(artefact.parents) or "\u2013",
            )
            for name, artefact in parts.artefacts
        ]
        columns = [Column("artefact", False), Column("kind", False), Column("size")]
        columns += [Column("content hash", False), Column("made from", False)]
        table = markup.table(columns, rows)
        blocks.append(Html(f"<details open><summary>Artefacts</summary>{table.text}</details>"))
    return markup.section("recipe", "Recipe", *blocks)


def machine(parts: RunParts) -> Html:
    """What it ran on."""
    found = parts.machine
    if found is None:
        return markup.section("machine", "Machine", markup.absent("The machine"))
    rate, flops = figure_at(found, "read_bytes_per_s"), figure_at(found, "fp32_flops")
    one = figure_at(found, "read_bytes_per_s_1")
    caches = at(found, "facts", "cache_bytes") or {}
    entries = [
        ("processor", at(found, "facts", "model")),
        ("cores used", at(found, "facts", "cores")),
        ("instruction sets", " ".join(map(str, at(found, "facts", "isa") or [])) or "\u2013"),
        ("caches", ", ".join(f"{k} {markup.size(v)}" for k, v in caches.items()) or "\u2013"),
        ("memory", markup.size(figure_at(found, "facts", "ram_bytes"))),
        ("system", at(found, "facts", "system")),
        ("read bandwidth", _rate(rate, "GB/s", one)),
        ("float32 matmul", _rate(flops, "GFLOP/s", None)),
        ("these two are", markup.label_chip(str(found.get("label")))),
    ]
    return markup.section("machine", "Machine", markup.pairs(entries))


def _rate(value: float | None, unit: str, one: float | None) -> str:
    if value is None:
        return "\u2013"
    text = f"{value / 1e9:.1f} {unit}"
    return text if one is None else f"{text} with all cores, {one / 1e9:.1f} {unit} with one"

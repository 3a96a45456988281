"""The sections on the runs themselves: cost, failures, provenance."""

from collections import Counter, defaultdict
from collections.abc import Sequence

from said_lightning.analysis.estimator import Row
from said_lightning.analysis.report.layout import Section, Table, name, score
from said_lightning.analysis.report.sources import Source, Sources, cite, of_full, of_series

_HOUR = 3600  # seconds


def cost(rows: Sequence[Row], sources: Sources) -> Section:
    """Return runs, hours and memory of each series and of full fine-tuning."""
    parts = {name(row): of_series(sources, row) for row in rows}
    parts |= {f"{row.model} · {row.task} · full": of_full(sources, row) for row in rows}
    parts = {part: found for part, found in sorted(parts.items()) if found}
    table = Table(
        "Cost",
        (
            "series",
            "all",
            "done",
            "failed",
            "hours",
            "peak memory, GB",
            "devices",
            "runs",
        ),
        [_costs(part, found) for part, found in [*parts.items(), ("all", sources)]],
    )
    return Section("Cost", "Wall time of the runs that recorded it, whatever else ran.", [table])


def _costs(part: str, found: list[Source]) -> tuple[str, ...]:
    records = [source.record for source in found]
    memory = [record.peak_memory_bytes for record in records if record.peak_memory_bytes]
    return (
        *(part, str(len(records)), str(sum(record.status == "done" for record in records))),
        str(sum(record.status == "failed" for record in records)),
        f"{sum(record.wall_s or 0 for record in records) / _HOUR:.2f}",
        f"{max(memory) / 1e9:.2f}" if memory else "-",
        ", ".join(sorted({record.device for record in records if record.device})) or "-",
        cite(found),
    )


def failed(_: Sequence[Row], sources: Sources) -> Section:
    """Return the runs without a metric: those that failed, with reasons, and those to come."""
    open_runs = [source for source in sources if source.record.status != "done"]
    if not open_runs:
        return Section("What failed", f"Nothing: all {len(sources)} runs are done.")
    counts = Counter(source.record.status for source in open_runs)
    lost = counts.pop("failed", 0)
    to_come = "".join(f", {count} {status}" for status, count in sorted(counts.items()))
    table = Table(
        "Runs that gave no metric",
        ("run", "status", "model", "task", "method", "d", "seed", "lr", "reason"),
        [
            (
                *(str(source.number), source.record.status, source.record.model),
                *(source.record.task, source.record.method, _plain(source.record.d)),
                *(str(source.record.seed), _plain(source.record.lr)),
                " ".join((source.record.reason or "-").split())[:200],
            )
            for source in open_runs
        ],
    )
    text = f"{lost or 'None'} of {len(sources)} runs{to_come}."
    return Section("What failed", text, [table])


def provenance(_: Sequence[Row], sources: Sources) -> Section:
    """Return every run, with what identifies its inputs."""
    versions: dict[tuple[tuple[str, str], ...], list[Source]] = defaultdict(list)
    for source in sources:
        versions[tuple(sorted(source.record.versions.items()))].append(source)
    software = Table(
        "Software",
        ("versions", "runs"),
        [
            (", ".join(f"{package} {version}" for package, version in one) or "-", cite(found))
            for one, found in sorted(versions.items(), key=lambda item: item[1][0].number)
        ],
    )
    runs = Table(
        "Runs",
        (
            *("run", "folder", "d", "seed", "lr", "metric", "config", "P", "data", "model"),
            *("device", "threads", "started", "seconds"),
        ),
        [_facts(source) for source in sources],
        long=True,
        lists_runs=True,
    )
    text = (
        "Every number above comes from these runs: from the metric in the result.json of each "
        "folder. Data and model are the first digits of their sha256, P the fingerprint "
        "of the projection."
    )
    return Section("Where the numbers come from", text, [software, runs])


def _facts(source: Source) -> tuple[str, ...]:
    record = source.record
    return (
        *(str(source.number), source.folder, _plain(record.d), str(record.seed)),
        *(_plain(record.lr), score(record.metric.value), record.config_hash or "-"),
        *((hexed or "-")[:8] for hexed in (record.fingerprint, record.data_sha256)),
        *((record.model_sha256 or "-")[:8], record.device or "-", _plain(record.threads)),
        *(record.started or "-", "-" if record.wall_s is None else f"{record.wall_s:.0f}"),
    )


def _plain(value: float | int | None) -> str:
    return "-" if value is None else f"{value:,}" if isinstance(value, int) else f"{value:.3g}"

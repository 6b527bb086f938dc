"""Files as events: any CSV, Parquet or JSON-lines file with a mapping of its columns.

Lines are read in chunks, cast column by column, and appended a chunk a transaction. A line that cannot be an event is
kept in the file of rejects with its number and the reason. An event's key is the column that the mapping names, or
made from the line's content, so the same file imported twice changes nothing.
"""

from __future__ import annotations

import asyncio
import csv
import hashlib
import itertools
import json
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal
from zoneinfo import ZoneInfo

import polars as pl

from siyu.contract.errors import InputError
from siyu.contract.events import Column, EventKind, Source
from siyu.flow.context import Context, zone
from siyu.flow.ingest import load
from siyu.store.models import Brand

__all__ = ["FORMULA", "ColumnMapping", "Imported", "import_file"]

CHUNK = 50_000
MOST_LINE = 1_000_000
FORMULA = r"'*[=+\-@＝＋－＠\t\r\n]"
"""How a text of CSV begins that a spreadsheet takes for a formula, or that has been kept from it: exports put an
apostrophe before it (as OWASP says), and imports take that off."""
ENCODING = "utf-8-sig"  # a byte order mark is no part of the first column
Format = Literal["csv", "jsonl", "parquet"]
Progress = Callable[[float], None]
Line = tuple[int, Mapping[str, Any] | str]
"""The number of a line, and its values by column, or why there are none."""


@dataclass(frozen=True)
class ColumnMapping:
    """Which column is what. Columns are named as in the header, or by position from 1 where there is none."""

    user: str
    identity_kind: str
    at: str
    fields: Mapping[str, str] = field(default_factory=dict)
    id: str | None = None
    at_format: str | None = None


@dataclass
class Imported:
    """What became of a file."""

    lines: int = 0
    new: int = 0
    duplicate: int = 0
    rejected: int = 0
    rejects: Path | None = None


async def import_file(
    ctx: Context,
    brand: Brand,
    path: Path,
    kind: str,
    mapping: ColumnMapping,
    *,
    rejects: Path,
    file_format: Format | None = None,
    separator: str | None = None,
    header: bool = True,
    progress: Progress | None = None,
) -> Imported:
    """Import a file as events of one kind.

    ``separator`` is a character, ``"whitespace"``, or None to be guessed. Raises :class:`InputError` where the file
    or the mapping cannot be used at all; single lines never stop it, unless they do not end (:data:`MOST_LINE`).
    """
    event_kind = ctx.plugins.catalog.kind(kind)
    source = event_kind.sources[0]
    _check_fields(event_kind, source, mapping)
    result = Imported()
    file_format = file_format or _guess_format(path)
    reader = _Reader(path, file_format, separator, header)
    wanted = {mapping.user, mapping.at, *mapping.fields.values(), *([mapping.id] if mapping.id else [])}
    if unknown := sorted(wanted - set(reader.columns)):
        raise InputError(
            f"the file has no column {unknown[0]!r}",
            field="mapping",
            remedy=f"columns are: {', '.join(reader.columns)}",
        )
    seen: dict[bytes, int] = {}
    with _Rejects(rejects) as refused:
        lines = reader.lines()
        while chunk := await asyncio.to_thread(lambda: list(itertools.islice(lines, CHUNK))):
            result.lines += len(chunk)
            for number, values in chunk:
                if isinstance(values, str):
                    refused.add(number, values, "")
            rows = [(number, values) for number, values in chunk if not isinstance(values, str)]
            raw = await asyncio.to_thread(_raw, rows, wanted, file_format)
            good = await asyncio.to_thread(
                _events, raw, rows, event_kind, source, mapping, zone(brand.zone), seen, refused
            )
            if len(good):
                appended = await load(ctx, brand, good)
                result.new += appended.new
                result.duplicate += appended.duplicate
            refused.flush()
            if progress:
                progress(reader.share())
        result.rejected = refused.count
        result.rejects = rejects if refused.count else None
    return result


def _guess_format(path: Path) -> Format:
    match path.suffix.lower():
        case ".parquet" | ".pq":
            return "parquet"
        case ".jsonl" | ".ndjson" | ".json":
            return "jsonl"
    return "csv"


def _check_fields(kind: EventKind, source: Source, mapping: ColumnMapping) -> None:
    valid = [column.name for column in source.columns]
    if unknown := [name for name in mapping.fields if source.column(name) is None]:
        raise InputError(
            f"{kind.name} has no field {unknown[0]!r}", field="mapping", remedy=f"fields are: {', '.join(valid)}"
        )
    required = [name for name, info in kind.payload.model_fields.items() if info.is_required()]
    if missing := [name for name in required if name not in mapping.fields]:
        raise InputError(
            f"{kind.name} needs the field {missing[0]!r}",
            field="mapping",
            remedy=f"say which column it is: {missing[0]}=COLUMN",
        )


def _raw(rows: Sequence[tuple[int, Mapping[str, Any]]], columns: Collection[str], file_format: Format) -> pl.DataFrame:
    """The texts of some columns."""
    raw = pl.DataFrame(
        {name: [_text(values.get(name)) for _, values in rows] for name in columns},
        schema=dict.fromkeys(columns, pl.String),
    ).with_columns(pl.all().str.strip_chars())
    return raw.with_columns(pl.all().str.replace(rf"^'({FORMULA})", "$1")) if file_format == "csv" else raw


def _events(
    raw: pl.DataFrame,
    rows: Sequence[tuple[int, Mapping[str, Any]]],
    kind: EventKind,
    source: Source,
    mapping: ColumnMapping,
    brand_zone: ZoneInfo,
    seen: dict[bytes, int],
    refused: _Rejects,
) -> pl.DataFrame:
    """The rows as events, of the ``raw`` texts in them; rows that cannot be are handed to ``refused``."""
    required = {name for name, info in kind.payload.model_fields.items() if info.is_required()}
    checks = [_text_check("user", mapping.user, 200, required=True), _moment_check(mapping, brand_zone)]
    checks += [_check(source.column(name), column, name in required) for name, column in mapping.fields.items()]
    if mapping.id:
        checks.append(_text_check("id", mapping.id, 200, required=True))
    cast = raw.select(
        *(value.alias(name) for name, value, _ in checks),
        pl.coalesce([reason for _, _, reason in checks] + [pl.lit(None, pl.String)]).alias("!"),
    )
    bad = cast.get_column("!")
    for index in bad.is_not_null().arg_true():
        number, values = rows[index]
        refused.add(number, bad[index], json.dumps(values, ensure_ascii=False, default=str))
    payload = pl.struct([pl.col(f"payload.{name}").alias(name) for name in mapping.fields]) if mapping.fields else None
    good = cast.filter(bad.is_null()).select(
        pl.lit(kind.name).alias("kind"),
        "at",
        pl.lit(mapping.identity_kind).alias("identity_kind"),
        pl.col("user").alias("identity"),
        (payload.struct.json_encode() if payload is not None else pl.lit("{}")).alias("payload"),
        *([pl.col("id").alias("key")] if mapping.id else []),
    )
    return good if mapping.id else good.with_columns(_keys(good, seen))


def _keys(events: pl.DataFrame, seen: dict[bytes, int]) -> pl.Series:
    """Keys from content: equal lines are numbered, so each of them counts, and counts once however often imported."""
    content = events.select(pl.concat_str(pl.all().cast(pl.String), separator="\x1f", ignore_nulls=True)).to_series()
    keys = []
    for text in content:
        digest = hashlib.blake2b(text.encode(), digest_size=12).digest()
        number = seen.get(digest, 0)
        seen[digest] = number + 1
        keys.append(f"{digest.hex()}-{number}")
    return pl.Series("key", keys, dtype=pl.String)


Check = tuple[str, pl.Expr, pl.Expr]
"""A name, the value cast, and the reason why it cannot be (null where it can)."""


def _text(value: Any) -> str | None:
    return None if value is None else str(value)


def _given(column: str) -> pl.Expr:
    text = pl.col(column)
    return pl.when(text != "").then(text)


def _text_check(name: str, column: str, length: int, *, required: bool) -> Check:
    text = _given(column)
    empty = pl.when(text.is_null() & pl.lit(required)).then(pl.lit(f"{name}: empty"))
    long = pl.when(text.str.len_chars() > length).then(pl.lit(f"{name}: longer than {length} letters"))
    nul = pl.when(text.str.contains("\0", literal=True)).then(pl.lit(f"{name}: holds a NUL"))
    return name, text, pl.coalesce(empty, long, nul)


def _moment_check(mapping: ColumnMapping, brand_zone: ZoneInfo) -> Check:
    text = _given(mapping.at)
    shapes = (
        [mapping.at_format]
        if mapping.at_format
        else [
            "%+",
            "%Y-%m-%dT%H:%M:%S%.f",
            "%Y-%m-%d %H:%M:%S%.f",
            "%Y-%m-%dT%H:%M",
            "%Y-%m-%d %H:%M",
            "%Y-%m-%d",
            "%Y/%m/%d",
        ]
    )
    moments = []
    for shape in shapes:
        if "%z" in shape or shape == "%+":
            moments.append(text.str.to_datetime(shape, strict=False, time_unit="us", time_zone="UTC"))
            continue
        clock = any(part in shape for part in ("%H", "%I", "%T", "%R", "%s"))
        local = (
            text.str.to_datetime(shape, strict=False, time_unit="us")
            if clock
            else text.str.to_date(shape, strict=False).cast(pl.Datetime("us"))
        )
        # Of an hour that comes twice the first is meant; one that a clock skips did not happen. A day does, though
        # it may begin at one.
        for clocked in [local] if clock else [local, local + pl.duration(hours=1)]:
            aware = clocked.dt.replace_time_zone(brand_zone.key, ambiguous="earliest", non_existent="null")
            moments.append(aware.dt.convert_time_zone("UTC"))
    value = pl.coalesce(moments)
    like = mapping.at_format or "2026-11-21 or 2026-11-21T09:30:00+08:00"
    early = pl.when(value.dt.year() < 1970).then(pl.format("at: '{}' lies before 1970", text))
    wrong = pl.when(value.is_null()).then(pl.format(f"at: '{{}}' is not a moment like {like}", text.fill_null("")))
    return "at", value, pl.coalesce(wrong, early)


def _check(column: Column | None, name: str, required: bool) -> Check:
    assert column is not None
    where = f"payload.{column.name}"
    text = _given(name)
    if column.type == "text":
        return _text_check(where, name, 4000, required=required)
    match column.type:
        case "integer":
            value, what = text.cast(pl.Int64, strict=False), "a whole number"
            value = pl.when(value.abs() <= 2**53).then(value)
        case "money":
            number = text.cast(pl.Float64, strict=False)
            # NaN and infinities fail both comparisons.
            value = pl.when((number.abs() < 1e11) & ((number * 100 - (number * 100).round()).abs() < 1e-4)).then(number)
            value, what = (value * 100).round() / 100, "an amount with at most two decimals"
        case "flag":
            low = text.str.to_lowercase()
            value = (
                pl.when(low.is_in(["1", "true", "yes", "y"]))
                .then(True)
                .when(low.is_in(["0", "false", "no", "n"]))
                .then(False)
            )
            what = "true or false"
        case _:
            value, what = text.str.to_date("%Y-%m-%d", strict=False).cast(pl.String), "a date like 2026-11-21"
    wrong = pl.when(text.is_not_null() & value.is_null()).then(pl.format(f"{column.name}: '{{}}' is not {what}", text))
    empty = pl.when(text.is_null() & pl.lit(required)).then(pl.lit(f"{column.name}: empty"))
    return where, value, pl.coalesce(wrong, empty)


class _Reader:
    """Lines of a file, as far as it is one."""

    def __init__(self, path: Path, file_format: Format, separator: str | None, header: bool) -> None:
        self._path, self._format, self._header = path, file_format, header
        self._read = 0
        try:
            self._size = max(1, path.stat().st_size)
            if file_format == "parquet":
                self._parquet = pl.scan_parquet(path)
                self.columns: list[str] = self._parquet.collect_schema().names()
                return
            with path.open(encoding=ENCODING, errors="replace", newline="") as file:
                first = file.readline(MOST_LINE)
        except (OSError, pl.exceptions.PolarsError) as error:
            raise InputError(f"{path} cannot be read: {error}", field="file", remedy="name a readable file") from None
        if not first.strip():
            raise InputError(f"{path} is empty", field="file", remedy="name a file with lines")
        if file_format == "jsonl":
            self.columns = self._json_columns(first)
        else:
            self._separator = separator or _guess_separator(first)
            cells = self._split(first)
            self.columns = cells if header else [str(number) for number in range(1, len(cells) + 1)]

    def share(self) -> float:
        """How much of the file has been read, 0 to 1."""
        return min(1.0, self._read / self._size)

    def lines(self) -> Iterator[Line]:
        """Every line with its number, from 1; the header is not one."""
        match self._format:
            case "parquet":
                yield from self._parquet_lines()
            case "jsonl":
                yield from self._json_lines()
            case _:
                yield from self._text_lines()

    def _split(self, line: str) -> list[str]:
        if self._separator == "whitespace":
            return line.split()
        return next(csv.reader([line], delimiter=self._separator), [])

    def _json_columns(self, first: str) -> list[str]:
        try:
            value = json.loads(first)
        except ValueError:
            value = None
        if not isinstance(value, dict):
            raise InputError(
                f"the first line of {self._path} is not a JSON object", field="file", remedy="write an object a line"
            )
        return list(value)

    def _counted(self, file: Any) -> Iterator[str]:
        for number in itertools.count(1):
            line = file.readline(MOST_LINE + 1)
            if not line:
                return
            if len(line) > MOST_LINE:
                raise InputError(
                    f"line {number} of {self._path} is longer than {MOST_LINE:,} letters",
                    field="file",
                    remedy="give a file with an event a line; lines that were taken already count once",
                )
            self._read += len(line)
            yield line

    def _text_lines(self) -> Iterator[Line]:
        with self._path.open(encoding=ENCODING, errors="replace", newline="") as file:
            lines = self._counted(file)
            if self._separator == "whitespace":
                rows: Iterator[tuple[int, list[str] | str]] = ((n, line.split()) for n, line in enumerate(lines, 1))
            else:
                rows = _csv_rows(csv.reader(lines, delimiter=self._separator))
            for number, cells in rows:
                if (number == 1 and self._header) or not cells:
                    continue
                yield number, self._named(cells)

    def _named(self, cells: list[str] | str) -> Mapping[str, Any] | str:
        if isinstance(cells, str):
            return cells
        if len(cells) != len(self.columns):
            return f"{len(cells)} columns, the first line has {len(self.columns)}: {' '.join(cells)[:200]}"
        if any("\ufffd" in cell for cell in cells):
            return f"not UTF-8: {' '.join(cells)[:200]}"
        return dict(zip(self.columns, cells, strict=True))

    def _json_lines(self) -> Iterator[Line]:
        with self._path.open(encoding=ENCODING, errors="replace") as file:
            for number, line in enumerate(self._counted(file), 1):
                if not line.strip():
                    continue
                if "\ufffd" in line:
                    yield number, f"not UTF-8: {line[:200].strip()}"
                    continue
                try:
                    value = json.loads(line)
                    if "\\ud" in line.lower():
                        json.dumps(value, ensure_ascii=False).encode()  # raises for half a character
                except (ValueError, RecursionError) as error:
                    yield number, f"not JSON ({error}): {line[:200].strip()}"
                    continue
                yield number, value if isinstance(value, dict) else f"not a JSON object: {line[:200].strip()}"

    def _parquet_lines(self) -> Iterator[Line]:
        rows = self._parquet.select(pl.len()).collect().item()
        for start in range(0, rows, CHUNK):
            yield from enumerate(self._parquet.slice(start, CHUNK).collect().iter_rows(named=True), start + 1)
            self._read = int(self._size * min(1.0, (start + CHUNK) / rows))


def _csv_rows(reader: Any) -> Iterator[tuple[int, list[str] | str]]:
    """Rows by the number of their first line; one that never ends takes many lines with it, and says which."""
    while True:
        number = reader.line_num + 1
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            yield number, f"not CSV: {error} (lines {number} to {reader.line_num})"
            continue
        yield number, cells


def _guess_separator(line: str) -> str:
    best = max(",\t;|", key=line.count)
    return best if best in line else "whitespace"


class _Rejects:
    """The file of rejects; made when there is a first one."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: Any = None
        self._waiting: list[tuple[int, str, str]] = []
        self.count = 0

    def add(self, line: int, reason: str, values: str) -> None:
        """Keep one."""
        self._waiting.append((line, reason, values))
        self.count += 1

    def flush(self) -> None:
        """Write those kept so far, in the order of their lines."""
        if self._waiting and self._file is None:
            self._file = self._path.open("w", encoding="utf-8", newline="")
            csv.writer(self._file).writerow(["line", "reason", "values"])
        if self._waiting:
            csv.writer(self._file).writerows(sorted(self._waiting))
            self._waiting.clear()

    def __enter__(self) -> _Rejects:
        return self

    def __exit__(self, *_: object) -> None:
        self.flush()
        if self._file is not None:
            self._file.close()

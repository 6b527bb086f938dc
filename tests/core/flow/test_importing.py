"""Files as events: what is good is taken, what is not is reported by line and reason, and nothing is taken twice."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from siyu import InputError
from siyu.flow import plugins
from siyu.flow.context import Context
from siyu.flow.importing import ColumnMapping, Imported, import_file
from siyu.flow.refresh import refresh
from siyu.store.models import Brand, Event, Identity, Tag

BY_NAME = ColumnMapping("user", "member", "at", {"amount": "amount"})


async def imported(
    house: Context, brand: Brand, path: Path, mapping: ColumnMapping = BY_NAME, *, kind: str = "order.paid", **more: Any
) -> tuple[Imported, dict[int, str]]:
    """What became of a file, and the reasons by line."""
    rejects = path.with_suffix(".rejects.csv")
    rejects.unlink(missing_ok=True)
    done = await import_file(house, brand, path, kind, mapping, rejects=rejects, **more)
    assert (done.rejects is not None) == rejects.exists() == bool(done.rejected)
    if not done.rejected:
        return done, {}
    with rejects.open(encoding="utf-8", newline="") as file:
        reasons = {int(row["line"]): row["reason"] for row in csv.DictReader(file)}
    assert len(reasons) == done.rejected
    return done, reasons


async def kept(brand: Brand) -> list[tuple[str, datetime, Any]]:
    """Member, moment and payload of every event, by moment."""
    names = {row.user_id: row.value for row in await Identity.filter(brand_id=brand.id)}
    rows = await Event.filter(brand_id=brand.id).order_by("at", "id")
    return [(names[row.user_id], row.at, row.payload) for row in rows]


def write(path: Path, *lines: str | bytes, end: bytes = b"\n", start: bytes = b"") -> Path:
    path.write_bytes(start + end.join(line if isinstance(line, bytes) else line.encode() for line in lines) + end)
    return path


def day(text: str, zone: timezone = timezone(timedelta(hours=8))) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=zone)


async def test_a_purchase_log_that_nobody_prepared_gives_rfm_tags(house: Context, shop: Brand, tmp_path: Path) -> None:
    lines = [
        f" {user:05d} {19970101 + month * 100 + user} {1 + user % 3:2d} {user * 7.5:8.2f}"
        for user in range(1, 25)
        for month in range(1 + user % 5)
    ]
    log = write(tmp_path / "CDNOW_master.txt", *lines)
    mapping = ColumnMapping("1", "customer", "2", {"quantity": "3", "amount": "4"}, at_format="%Y%m%d")
    done, reasons = await imported(house, shop, log, mapping, header=False, separator="whitespace")
    assert (done.lines, done.new, done.duplicate, reasons) == (len(lines), len(lines), 0, {})
    assert (await kept(shop))[0] == ("00001", day("1997-01-02"), {"quantity": 2, "amount": 7.5})
    await plugins.enable(house, shop, "rfm")
    await refresh(house, shop.id)
    counts = {tag.key: tag.users for tag in await Tag.filter(brand_id=shop.id)}
    classes = [n for key, n in counts.items() if key.startswith(("rfm.important_", "rfm.general_"))]
    assert (sum(classes), len(classes), counts["rfm.potential"]) == (24, 8, 0)

    again, _ = await imported(house, shop, log, mapping, header=False)  # the separator is found out
    assert (again.new, again.duplicate) == (0, len(lines))
    assert (await refresh(house, shop.id)).changes == 0


async def test_bad_lines_are_reported_by_number_and_reason_and_good_ones_are_taken(
    house: Context, shop: Brand, tmp_path: Path
) -> None:
    good = "{0},2026-01-{0:02d},1.5"
    bad: dict[int, tuple[str | bytes, str]] = {
        3: ("7,2026-01-01", "2 columns, the first line has 3"),
        4: ("7,2026-01-01,1,2", "4 columns, the first line has 3"),
        5: ("7,2026-02-30,1", "at: '2026-02-30' is not a moment like"),
        6: ("7,yesterday,1", "at: 'yesterday' is not a moment like"),
        7: ("7,,1", "at: '' is not a moment like"),
        8: ("7,1969-12-31,1", "lies before 1970"),
        9: ("7,2026-01-01,NaN", "amount: 'NaN' is not an amount"),
        10: ("7,2026-01-01,inf", "amount: 'inf' is not an amount"),
        11: ("7,2026-01-01,-Infinity", "amount: '-Infinity' is not an amount"),
        12: ("7,2026-01-01,1.005", "amount: '1.005' is not an amount with at most two decimals"),
        13: ("7,2026-01-01,1e12", "amount: '1e12' is not an amount"),
        14: ("7,2026-01-01,twelve", "amount: 'twelve' is not an amount"),
        15: ("7,2026-01-01,", "amount: empty"),
        16: (",2026-01-01,1", "user: empty"),
        17: ("  ,2026-01-01,1", "user: empty"),
        18: ("x" * 201 + ",2026-01-01,1", "user: longer than 200"),
        19: (b"caf\xe9,2026-01-01,1", "not UTF-8"),
        20: ("7\x00,2026-01-01,1", "user: holds a NUL"),
        21: ("y" * 140_000 + ",2026-01-01,1", "not CSV: field larger"),
    }
    lines: list[str | bytes] = ["user,at,amount", good.format(2), *(line for line, _ in bad.values()), good.format(22)]
    done, reasons = await imported(house, shop, write(tmp_path / "orders.csv", *lines))
    assert (done.lines, done.new, done.rejected) == (len(bad) + 2, 2, len(bad))
    assert [member for member, _, _ in await kept(shop)] == ["2", "22"]
    assert list(reasons) == sorted(reasons, key=list(reasons).index)
    for number, (_, reason) in bad.items():
        assert reason in reasons[number]


async def test_lines_that_are_the_same_count_each_however_often_they_are_imported(
    house: Context, shop: Brand, tmp_path: Path
) -> None:
    line = "7,2026-01-01,1.50"
    path = write(tmp_path / "a.csv", "user,at,amount", line, line, "8,2026-01-01,1.50", line)
    assert (await imported(house, shop, path))[0].new == 4
    for _ in range(2):
        done, _ = await imported(house, shop, path)
        assert (done.new, done.duplicate) == (0, 4)
    # A file that has grown, and one with its columns in another order.
    grown = write(tmp_path / "b.csv", "amount,user,at", *["1.50,7,2026-01-01"] * 4, "2,9,2026-01-02")
    done, _ = await imported(house, shop, grown)
    assert (done.new, done.duplicate) == (2, 3)


async def test_a_column_of_ids_says_what_is_the_same(house: Context, shop: Brand, tmp_path: Path) -> None:
    mapping = ColumnMapping("user", "member", "at", {"amount": "amount"}, id="order")
    lines = ["a,1,2026-01-01,1", "a,1,2026-01-02,2", "b,1,2026-01-01,1", ",1,2026-01-01,1"]
    path = write(tmp_path / "a.csv", "order,user,at,amount", *lines)
    done, reasons = await imported(house, shop, path, mapping)
    assert (done.new, done.duplicate, reasons) == (2, 1, {5: "id: empty"})
    # The same orders under another name of the users make nobody up.
    other = ColumnMapping("user", "household", "at", {"amount": "amount"}, id="order")
    done, _ = await imported(house, shop, path, other)
    assert (done.new, done.duplicate) == (0, 3)
    assert await Identity.filter(brand_id=shop.id).count() == 1


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("bom.csv", b"\xef\xbb\xbfuser,at,amount\n7,2026-01-01,1.5\n"),
        ("crlf.csv", b"user,at,amount\r\n7,2026-01-01,1.5\r\n"),
        ("no end.csv", b"user,at,amount\n7,2026-01-01,1.5"),
        ("tabs.tsv", b"user\tat\tamount\n7\t2026-01-01\t1.5\n"),
        ("semicolons.csv", b"user;at;amount\n7;2026-01-01;1.5\n"),
        ("blanks.txt", b"user  at amount\n 7   2026-01-01   1.5 \n\n"),
        ("blank lines.csv", b"user,at,amount\n\n7,2026-01-01,1.5\n\n"),
        ("quotes.csv", b'"user","at","amount"\n"7","2026-01-01"," 1.5 "\n'),
        ("lines.jsonl", b'{"user": 7, "at": "2026-01-01", "amount": 1.5}\n\n'),
        ("bom.jsonl", b'\xef\xbb\xbf{"user": "7", "at": "2026-01-01", "amount": "1.50"}\r\n'),
    ],
)
async def test_files_are_written_in_many_ways(
    house: Context, shop: Brand, tmp_path: Path, name: str, text: bytes
) -> None:
    path = tmp_path / name
    path.write_bytes(text)
    done, reasons = await imported(house, shop, path)
    assert (done.lines, done.new, reasons) == (1, 1, {})
    assert await kept(shop) == [("7", day("2026-01-01"), {"amount": 1.5})]


async def test_without_a_header_the_first_line_counts_even_after_a_byte_order_mark(
    house: Context, shop: Brand, tmp_path: Path
) -> None:
    mapping = ColumnMapping("1", "member", "2", {"amount": "3"})
    for n, text in enumerate((b"\xef\xbb\xbf7,2026-01-01,1.5\n", b"\xef\xbb\xbf7 2026-01-01 1.5\n")):
        path = tmp_path / f"{n}.csv"
        path.write_bytes(text)
        await imported(house, shop, path, mapping, header=False)
    assert await kept(shop) == [("7", day("2026-01-01"), {"amount": 1.5})]


async def test_a_quoted_text_may_go_over_lines_and_one_that_never_ends_says_what_it_took(
    house: Context, shop: Brand, tmp_path: Path
) -> None:
    mapping = ColumnMapping("user", "member", "at", {"text": "text"})
    path = write(
        tmp_path / "a.csv",
        "user,at,text",
        '1,2026-01-01,"two\nlines, ""quoted"""',
        "2,2026-01-02",
        '3,2026-01-03,"never ends',
        *["4,2026-01-04,swallowed"] * 9_000,
    )
    done, reasons = await imported(house, shop, path, mapping, kind="group.message")
    assert (await kept(shop))[0] == ("1", day("2026-01-01"), {"text": 'two\nlines, "quoted"'})
    assert reasons.pop(4).startswith("2 columns")
    [number, reason] = next(iter(reasons.items()))
    assert number == 5
    assert reason.startswith("not CSV: field larger than field limit (131072) (lines 5 to ")
    last = int(reason.rstrip(")").rsplit(" ", 1)[1])
    assert done.new == 1 + (9_005 - last)


async def test_json_lines_that_are_none_are_reported(house: Context, shop: Brand, tmp_path: Path) -> None:
    deep = "[" * 100_000
    good = '{"user": "7", "at": "2026-01-01", "amount": 1}'
    bad: list[str | bytes] = [
        "{not json",
        "[1, 2]",
        deep,
        '{"user": "7", "at": "2026-01-01", "amount": NaN}',
        '{"user": null, "at": "2026-01-01", "amount": 1}',
        '{"at": "2026-01-01", "amount": 1}',
        '{"user": "\\ud800", "at": "2026-01-01", "amount": 1}',
        '{"user": "\\u0000", "at": "2026-01-01", "amount": 1}',
        b'{"user": "\xff", "at": "2026-01-01", "amount": 1}',
        '{"user": "7", "at": "2026-01-01", "amount": [1]}',
        '{"user": "7", "at": 20260101, "amount": 1}',
    ]
    fine = '{"user": "\\ud83d\\ude00", "at": "2026-01-02T00:00:00Z", "amount": 2, "more": {"a": 1}}'
    done, reasons = await imported(house, shop, write(tmp_path / "a.jsonl", good, *bad, fine))
    assert (done.new, sorted(reasons)) == (2, list(range(2, 2 + len(bad))))
    assert [member for member, _, _ in await kept(shop)] == ["7", "\U0001f600"]


async def test_a_line_that_does_not_end_is_not_read_into_memory(house: Context, shop: Brand, tmp_path: Path) -> None:
    lines = ["user,at,amount", "m1,2026-05-01T10:00:00,5", "m2," + "x" * 1_100_000]
    with pytest.raises(InputError, match=r"line 3 of .* is longer than 1,000,000 letters"):
        await imported(house, shop, write(tmp_path / "endless.csv", *lines))


async def test_parquet_of_many_types_is_read(house: Context, shop: Brand, tmp_path: Path) -> None:
    moment = datetime(2026, 1, 1, 0, 30, tzinfo=UTC)
    shapes: list[tuple[Mapping[str, Any], datetime]] = [
        ({"user": [7], "at": ["2026-01-01T00:30:00Z"], "amount": [1.5]}, moment),
        ({"user": ["7"], "at": [moment], "amount": [Decimal("1.50")]}, moment),
        ({"user": ["7"], "at": [datetime(2026, 1, 1, 0, 30)], "amount": ["1.5"]}, day("2026-01-01T00:30")),  # noqa: DTZ001
        ({"user": ["7"], "at": [datetime(2026, 1, 1).date()], "amount": [1.5]}, day("2026-01-01")),  # noqa: DTZ001
    ]
    for number, (columns, at) in enumerate(shapes):
        brand = await Brand.create(slug=f"{shop.slug}-{number}", name="S", replayed_to=moment)
        path = tmp_path / f"{number}.parquet"
        pl.DataFrame({name: [*values, None] for name, values in columns.items()}).write_parquet(path)
        done, reasons = await imported(house, brand, path)
        assert (done.lines, done.new, list(reasons)) == (2, 1, [2])
        assert await kept(brand) == [("7", at, {"amount": 1.5})]


async def test_moments_are_those_of_the_brands_clock(house: Context, shop: Brand, tmp_path: Path) -> None:
    new_york = await Brand.create(
        slug=f"{shop.slug}-ny", name="NY", zone="America/New_York", replayed_to=datetime.fromtimestamp(0, UTC)
    )
    path = write(
        tmp_path / "a.csv",
        "user,at,amount",
        "skipped,2026-03-08 02:30:00,1",
        "before,2026-03-08 01:59:59.5,1",
        "after,2026-03-08T03:00,1",
        "twice,2026-11-01 01:30,1",
        "offset,2026-03-08T02:30:00+08:00,1",
        "slashes,2026/3/8,1",
    )
    done, reasons = await imported(house, new_york, path)
    assert (done.new, list(reasons)) == (5, [2])
    found = {member: at for member, at, _ in await kept(new_york)}
    assert found["before"] == datetime(2026, 3, 8, 6, 59, 59, 500000, UTC)
    assert found["twice"] == datetime(2026, 11, 1, 5, 30, tzinfo=UTC)
    assert found["offset"] == datetime(2026, 3, 7, 18, 30, tzinfo=UTC)
    assert found["slashes"] == datetime(2026, 3, 8, 5, tzinfo=UTC)

    # There, that day began at one in the morning.
    sao_paulo = await Brand.create(
        slug=f"{shop.slug}-sp", name="SP", zone="America/Sao_Paulo", replayed_to=datetime.fromtimestamp(0, UTC)
    )
    done, _ = await imported(house, sao_paulo, write(tmp_path / "b.csv", "user,at,amount", "1,2017-10-15,1"))
    assert [at for _, at, _ in await kept(sao_paulo)] == [datetime(2017, 10, 15, 3, tzinfo=UTC)]


async def test_a_file_or_a_mapping_that_cannot_be_used_is_refused_with_what_could(
    house: Context, shop: Brand, tmp_path: Path
) -> None:
    path = write(tmp_path / "a.csv", "user,at,amount", "1,2026-01-01,1")
    empty, broken, words = tmp_path / "empty.csv", tmp_path / "a.parquet", tmp_path / "a.jsonl"
    empty.write_bytes(b"")
    broken.write_bytes(b"PAR1 or not")
    words.write_bytes(b"user,at\n")
    amount = {"amount": "amount"}
    refused: list[tuple[Path, str, ColumnMapping, str, str]] = [
        (path, "order.payed", BY_NAME, "no event kind 'order.payed'", "order.paid"),
        (path, "order.paid", ColumnMapping("member", "m", "at", amount), "no column 'member'", "user, at, amount"),
        (path, "order.paid", ColumnMapping("user", "m", "at", {"sum": "amount"}), "no field 'sum'", "amount, quantity"),
        (path, "order.paid", ColumnMapping("user", "m", "at"), "needs the field 'amount'", "amount=COLUMN"),
        (empty, "order.paid", BY_NAME, "is empty", "with lines"),
        (broken, "order.paid", BY_NAME, "cannot be read", "readable"),
        (words, "order.paid", BY_NAME, "not a JSON object", "an object a line"),
        (tmp_path / "none.csv", "order.paid", BY_NAME, "cannot be read", "readable"),
        (tmp_path, "order.paid", BY_NAME, "cannot be read", "readable"),
    ]
    for file, kind, mapping, named, remedy in refused:
        with pytest.raises(InputError) as caught:
            await imported(house, shop, file, mapping, kind=kind)
        assert named in caught.value.message
        assert remedy in str(caught.value.remedy)
    assert await kept(shop) == []


async def test_columns_of_every_type_are_checked_as_in_single_events(
    house: Context, shop: Brand, tmp_path: Path
) -> None:
    path = tmp_path / "a.jsonl"
    rows = [{"user": "7", "at": "2026-01-01", "amount": 1, "n": n} for n in (3, "4", "2.5", "x", 2**53 + 1, None, "")]
    path.write_text("\n".join(json.dumps(row) for row in rows))
    mapping = ColumnMapping("user", "member", "at", {"amount": "amount", "quantity": "n"})
    done, reasons = await imported(house, shop, path, mapping)
    assert (done.new, list(reasons)) == (4, [3, 4, 5])
    assert sorted(payload.get("quantity") or 0 for _, _, payload in await kept(shop)) == [0, 0, 3, 4]

"""Exports and imports: made in the background, reached by signed links, never by another brand."""

from __future__ import annotations

import io
import json
import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import polars as pl
import pytest
from siyu.flow import files, segments
from siyu.flow import plugins as settings
from siyu.flow.context import Context
from siyu.flow.identities import user_named
from siyu.flow.ingest import IncomingEvent, record
from siyu.flow.merging import merge_users
from siyu.flow.refresh import refresh
from siyu.flow.tokens import create_token
from siyu.store.models import Brand, Event, File, Run
from siyu_graphql.file import routes

AT = datetime(2026, 1, 1, 12, tzinfo=UTC)
EXPORT = """mutation ($what: ExportOf!, $format: FileFormat!, $filter: UserFilter, $segment: String, $since: DateTime) {
  createExport(brand: "shop", what: $what, format: $format, filter: $filter, segment: $segment, since: $since) {
    file { id status url } userErrors { code field message remedy } } }"""
IMPORT = """mutation ($kind: String!, $fields: [FieldColumn!]!) {
  createImport(
    brand: "shop", kind: $kind, mapping: {identityKind: "member", user: "who", at: "when", fields: $fields}
  ) {
    file { id status url } userErrors { code field message } } }"""
FILE = """query ($id: ID!) { node(id: $id) { ... on File {
  status url rejectsUrl rows rejects size error run { status progress } } } }"""


@pytest.fixture
async def shop(ctx: Context, brand: Brand) -> Brand:
    await settings.enable(ctx, brand, "lifecycle")
    orders = [
        IncomingEvent(f"o{n}", "order.paid", {"member": f"m{n:02}"}, {"amount": n + 0.5}, AT + timedelta(days=9 * n))
        for n in range(30)
    ]
    names = IncomingEvent("p", "profile.updated", {"member": "m07"}, {"skin": '油,\n"性"'}, AT)
    await record(ctx, brand, [*orders, names])
    await refresh(ctx, brand.id)
    return brand


async def exported(api: Any, brand: Brand, **given: Any) -> Any:
    """The file as it stands once the job has run."""
    made = (await api.data(EXPORT, **given))["createExport"]
    assert made["userErrors"] == []
    assert (made["file"]["status"], made["file"]["url"]) == ("WAITING", None)
    assert ("files", brand.id) in api.queue.pushed
    await files.work(api.ctx, brand.id)
    return (await api.data(FILE, id=made["file"]["id"]))["node"]


def frame(content: bytes, format: str) -> pl.DataFrame:
    read: Any = {"CSV": pl.read_csv, "JSONL": pl.read_ndjson, "PARQUET": pl.read_parquet}[format]
    return pl.DataFrame(read(io.BytesIO(content)))


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("format", ["CSV", "JSONL", "PARQUET"])
async def test_all_of_what_is_exported_is_there_in_whatever_pieces_it_was_made(
    api: Any, shop: Brand, format: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "CHUNK", 7)
    for what, rows in (("USERS", 30), ("EVENTS", 31), ("ACTIONS", 0)):
        file = await exported(api, shop, what=what, format=format)
        assert (file["status"], file["rows"], file["error"], file["run"]["status"]) == ("DONE", rows, None, "DONE")
        response = await api.http.get(file["url"])
        assert response.status_code == 200
        assert len(response.content) == file["size"]
        assert "attachment" in response.headers["content-disposition"]
        if rows:
            found = frame(response.content, format)
            assert found.columns == list(files.EXPORTS[what.lower()])
            assert found.get_column("id").is_sorted()
            assert len(found) == found.get_column("id").n_unique() == rows
        if what == "USERS":
            row = found.filter(pl.col("identities").str.contains("m07")).row(0, named=True)
            assert json.loads(row["attributes"]) == {"skin": '油,\n"性"'}
            assert set(json.loads(row["stages"])) == {"lifecycle", "relationship"}
            assert datetime.fromisoformat(row["last_seen"]) == AT + timedelta(days=63)
    assert names_in(api.ctx.home / "files" / str(shop.id)) == sorted(
        f"{row.id}.{format.lower()}" for row in await File.all()
    )


async def test_users_who_were_merged_are_exported_as_one(api: Any, shop: Brand) -> None:
    one, other = [await user_named(shop, "member", name) for name in ("m03", "m04")]
    await merge_users(api.ctx, shop, one, other, by="test", force=True)

    async def rows(what: str) -> pl.DataFrame:
        file = await exported(api, shop, what=what, format="CSV")
        return frame((await api.http.get(file["url"])).content, "CSV")

    users, events = await rows("USERS"), await rows("EVENTS")
    [names] = users.filter(pl.col("id") == one).get_column("identities")
    assert [name["value"] for name in json.loads(names)] == ["m03", "m04"]
    assert set(events.get_column("user_id")) == set(users.get_column("id"))
    assert len(events.filter(pl.col("user_id") == one)) == 2


async def test_only_what_is_asked_for_is_exported(api: Any, shop: Brand) -> None:
    stages = (await api.data('{ brand(slug: "shop") { stages { key track users } } }'))["brand"]["stages"]
    stage = min((each for each in stages if each["users"]), key=lambda each: each["users"])
    assert stage["users"] < 30
    only = {"stage": {"track": stage["track"], "key": stage["key"]}}
    file = await exported(api, shop, what="USERS", format="CSV", filter=only)
    assert file["rows"] == stage["users"]
    since = (AT + timedelta(days=180)).isoformat()
    assert (await exported(api, shop, what="EVENTS", format="CSV", since=since))["rows"] == 10
    for given, field in (({"what": "EVENTS", "filter": only}, "filter"), ({"what": "USERS", "since": since}, "since")):
        refused = (await api.data(EXPORT, format="CSV", **given))["createExport"]
        assert [error["field"] for error in refused["userErrors"]] == [field]


async def test_a_link_that_is_not_ours_leads_nowhere(api: Any, shop: Brand, monkeypatch: pytest.MonkeyPatch) -> None:
    url = (await exported(api, shop, what="USERS", format="CSV"))["url"]
    await exported(api, shop, what="USERS", format="CSV")
    parts, asked = urlsplit(url), parse_qs(urlsplit(url).query)
    number, expires, signature = parts.path.split("/")[-1], asked["expires"][0], asked["signature"][0]
    wrong = [
        f"/files/{int(number) + 1}?expires={expires}&signature={signature}",
        f"/files/{number}?expires={int(expires) + 1}&signature={signature}",
        f"/files/{number}?expires={expires}&signature={signature[:-1]}x",
        f"/files/{number}?expires={expires}&signature=半",
        f"/files/{number}?expires=x&signature={signature}",
        f"/files/{number}",
        f"/files/{number}/rejects?expires={expires}&signature={signature}",
        f"/files/{number}/other?expires={expires}&signature={signature}",
        f"/files/..%2fsecret?expires={expires}&signature={signature}",
    ]
    for each in wrong:
        response = await api.http.get(each)
        assert response.status_code == 404, each
    assert (await api.http.put(url, content=b"x")).status_code == 404
    assert (await api.http.get(url)).status_code == 200
    monkeypatch.setattr("siyu.flow.files.time.time", lambda: float(expires) + 1)
    assert (await api.http.get(url)).status_code == 404
    assert stat.S_IMODE((api.ctx.home / "files" / "secret").stat().st_mode) == 0o600


async def test_links_are_for_those_who_may_export(api: Any, shop: Brand) -> None:
    await exported(api, shop, what="USERS", format="CSV")
    query = '{ brand(slug: "shop") { files { url } } }'
    assert (await api.data(query))["brand"]["files"][0]["url"]
    for role in ("viewer", "developer", "operator"):
        answer = await api.ask(query, await create_token(role, shop))
        assert answer["data"]["brand"]["files"] == [{"url": None}]


def lines(*rows: str) -> bytes:
    return "\n".join(["who,when,topic", *rows]).encode()


async def begun(api: Any) -> Any:
    given = {"kind": "article.opened", "fields": [{"field": "topic", "column": "topic"}]}
    return (await api.data(IMPORT, **given))["createImport"]["file"]


async def test_a_file_that_is_sent_becomes_events_and_what_cannot_is_handed_back(api: Any, shop: Brand) -> None:
    file = await begun(api)
    assert file["status"] == "OPEN"
    sent = lines("m01,2026-01-05,tea", "m02,never,tea", "m99,2026-01-06T10:00,milk")
    response = await api.http.put(file["url"], content=sent)
    assert (response.status_code, response.json()) == (202, {"status": "waiting"})
    assert ("files", shop.id) in api.queue.pushed
    again = await api.http.put(file["url"], content=sent)
    assert (again.status_code, "sent already" in again.text) == (400, True)
    await files.work(api.ctx, shop.id)
    done = (await api.data(FILE, id=file["id"]))["node"]
    assert (done["status"], done["rows"], done["rejects"], done["url"]) == ("DONE", 3, 1, None)
    assert await Event.filter(brand_id=shop.id, kind="article.opened").count() == 2
    rejects = await api.http.get(done["rejectsUrl"])
    assert "never" in rejects.text
    await shop.refresh_from_db()
    assert shop.refresh_asked is not None


async def test_no_text_of_an_export_is_a_formula_and_an_import_of_it_has_the_same_texts(api: Any, shop: Brand) -> None:
    keys = ["=1+1", "+8613", "-5", "@sum", "＝cmd", "'=quoted", "''-twice", "'plain", "a=b"]
    said = [IncomingEvent(key, "article.opened", {"member": "m01"}, {"topic": "tea"}, AT) for key in keys]
    await record(api.ctx, shop, said)
    file = await exported(api, shop, what="EVENTS", format="CSV")
    sent = (await api.http.get(file["url"])).content
    cells = frame(sent, "CSV").get_column("key").to_list()
    assert {"'=1+1", "'-5", "''=quoted", "'''-twice", "'plain", "a=b"} <= set(cells)
    assert not [cell for cell in cells if cell[0] in "=+-@＝"]
    header, _, rows = sent.partition(b"\n")
    assert header == b"id,key,user_id,kind,at,payload"
    again = await begun(api)
    await api.http.put(again["url"], content=b"id,topic,who,kind,when,payload\n" + rows)
    await files.work(api.ctx, shop.id)
    events = await Event.filter(brand_id=shop.id, kind="article.opened")
    assert set(keys) <= {event.payload["topic"] for event in events}


async def test_what_cannot_be_imported_at_all_fails_and_says_why(api: Any, shop: Brand) -> None:
    file = await begun(api)
    assert (await api.http.put(file["url"], content=b"a,b\n1,2\n")).status_code == 202
    await files.work(api.ctx, shop.id)
    done = (await api.data(FILE, id=file["id"]))["node"]
    assert done["status"] == "FAILED"
    assert "no column 'topic'" in done["error"]
    refused = (await api.data(IMPORT, kind="nothing", fields=[]))["createImport"]
    assert (refused["file"], refused["userErrors"][0]["field"]) == (None, "kind")


async def test_a_file_that_is_too_large_or_empty_is_refused(
    api: Any, shop: Brand, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(routes, "MOST_SENT", 100)
    file = await begun(api)
    for content in (b"x" * 101, b""):
        assert (await api.http.put(file["url"], content=content)).status_code == 400
    assert names_in(api.ctx.home / "files" / str(shop.id)) == []
    assert (await api.http.put(file["url"], content=lines("m01,2026-01-05,tea"))).status_code == 202


async def test_what_a_process_that_died_had_begun_is_made_anew(api: Any, shop: Brand) -> None:
    made = await files.create_export(shop, "users", by="test")
    half = files.path_of(api.ctx, made).with_suffix(".part")
    half.mkdir(parents=True)
    (half / "000000").write_text("half a row")
    died = await Run.create(brand_id=shop.id, kind="export", at=AT)
    await File.filter(id=made.id).update(run_id=died.id)
    await files.work(api.ctx, shop.id)
    await died.refresh_from_db()
    assert (died.status, died.error) == ("failed", "the process died")
    assert files.path_of(api.ctx, made).read_text().count("\n") == 31
    assert not half.exists()


async def test_old_files_are_removed(api: Any, shop: Brand) -> None:
    made = await files.create_export(shop, "users", by="test")
    await files.work(api.ctx, shop.id)
    await files.remove_old(api.ctx)
    assert files.path_of(api.ctx, made).exists()
    await File.filter(id=made.id).update(created_at=datetime.now(UTC) - timedelta(days=2))
    await files.remove_old(api.ctx)
    assert not files.path_of(api.ctx, made).exists()
    assert await File.all().count() == 0


async def test_a_brand_has_so_many_files_at_once(api: Any, shop: Brand) -> None:
    for _ in range(files.MOST_FILES):
        await files.create_export(shop, "users")
    refused = (await api.data(EXPORT, what="USERS", format="CSV"))["createExport"]
    assert refused["userErrors"][0]["remedy"] == "wait until one of them is done"


async def test_a_segment_is_exported_by_its_name(api: Any, shop: Brand) -> None:
    growth = {"stage": {"track": "lifecycle", "key": "growth"}}
    await segments.create(api.ctx, shop, "grown", growth)
    early = {"firstSeen": {"lt": (AT + timedelta(days=9 * 28)).isoformat()}}
    counts = 'query ($filter: UserFilter) { brand(slug: "shop") { users(filter: $filter) { totalCount } } }'
    whole = (await api.data(counts, filter=growth))["brand"]["users"]["totalCount"]
    part = (await api.data(counts, filter={"AND": [growth, early]}))["brand"]["users"]["totalCount"]
    assert 0 < part < whole < 30
    given = {"what": "USERS", "format": "CSV", "segment": "grown"}
    assert (await exported(api, shop, **given))["rows"] == whole
    assert (await exported(api, shop, **given, filter=early))["rows"] == part
    refused = (await api.data(EXPORT, **{**given, "segment": "none"}))["createExport"]["userErrors"]
    assert [(each["code"], each["field"]) for each in refused] == [("NOT_FOUND", "segment")]

"""Tokens: made once, kept as a hash, ended by time or by hand."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

import pytest
from siyu import InputError, NotFound
from siyu.flow.context import Context
from siyu.flow.tokens import RIGHTS, Forbidden, Right, Role, authenticate, create_token, revoke
from siyu.store.models import AccessToken, Brand

IN_AN_HOUR = timedelta(hours=1)


async def test_a_token_tells_who_bears_it(brand: Brand) -> None:
    secret = await create_token("operator", brand, "crm")
    access = await authenticate(secret)
    assert access is not None
    assert (access.role, access.brand_id, access.name, access.by) == (Role.OPERATOR, brand.id, "crm", "crm")
    assert access.sees(brand.id)
    assert not access.sees(brand.id + 1)


async def test_a_token_of_no_brand_sees_all_and_goes_by_its_prefix(ctx: Context) -> None:
    access = await authenticate(await create_token(Role.ADMIN, None))
    assert access is not None
    assert access.sees(1)
    assert access.sees(2)
    assert access.by == access.prefix


async def test_the_secret_itself_is_kept_nowhere(brand: Brand) -> None:
    secret = await create_token("viewer", brand)
    assert re.fullmatch(r"siyu_[0-9a-f]{8}_[\w-]{32}", secret)
    [row] = await AccessToken.all().values()
    assert row["prefix"] == secret[5:13]
    assert secret not in str(row)
    assert secret[14:] not in str(row)


@pytest.mark.parametrize(
    "secret", ["", "siyu_", "Bearer", "siyu_00000000_" + "x" * 32, "siyu_\udc80", "siyu_\x00", "é"]
)
async def test_what_is_no_token_is_nobodys(brand: Brand, secret: str) -> None:
    await create_token("viewer", brand)
    assert await authenticate(secret) is None


async def test_a_token_ends_when_its_time_is_over(ctx: Context) -> None:
    now = datetime.now(UTC)
    assert await authenticate(await create_token("viewer", None, expires_at=now + IN_AN_HOUR)) is not None
    assert await authenticate(await create_token("viewer", None, expires_at=now - IN_AN_HOUR)) is None


@pytest.mark.parametrize("how", ["prefix", "siyu_prefix", "whole"])
async def test_a_token_ends_when_it_is_revoked_and_others_do_not(ctx: Context, how: str) -> None:
    secret, other = await create_token("viewer", None), await create_token("viewer", None)
    await revoke({"prefix": secret[5:13], "siyu_prefix": secret[:13], "whole": secret}[how])
    assert await authenticate(secret) is None
    assert await authenticate(other) is not None
    with pytest.raises(NotFound, match="no token"):
        await revoke(secret[5:13])


async def test_what_cannot_be_a_token_is_refused(ctx: Context) -> None:
    with pytest.raises(InputError, match="viewer, developer, operator, admin"):
        await create_token("owner", None)
    with pytest.raises(InputError, match="time zone"):
        await create_token("viewer", None, expires_at=datetime(2030, 1, 1))  # noqa: DTZ001
    with pytest.raises(InputError, match="200"):
        await create_token("viewer", None, "x" * 201)


async def test_what_a_role_may_not_is_forbidden_and_says_who_may(ctx: Context) -> None:
    access = await authenticate(await create_token("viewer", None))
    assert access is not None
    access.require(Right.READ)
    with pytest.raises(Forbidden, match="use a token of role: operator, admin"):
        access.require(Right.REFRESH)


def test_each_role_may_what_those_below_it_may() -> None:
    assert RIGHTS[Role.VIEWER] < RIGHTS[Role.DEVELOPER] < RIGHTS[Role.OPERATOR] < RIGHTS[Role.ADMIN] == set(Right)

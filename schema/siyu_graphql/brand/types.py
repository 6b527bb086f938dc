"""Brands as they are shown."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import strawberry
from siyu.flow.context import now
from siyu.store import models

from siyu_graphql.action.queries import actions_of_brand
from siyu_graphql.action.types import Action
from siyu_graphql.audit.queries import audit_log_of_brand
from siyu_graphql.audit.types import AuditEntry
from siyu_graphql.benefit.queries import benefits_of_brand
from siyu_graphql.benefit.types import Benefit
from siyu_graphql.calendar.queries import CalendarEntry, calendar_of_brand
from siyu_graphql.cost import priced
from siyu_graphql.event.queries import events_of_brand, rejected_events
from siyu_graphql.event.types import Event, RejectedEvent
from siyu_graphql.fact.queries import facts_of_brand
from siyu_graphql.fact.types import NamedFact
from siyu_graphql.file.queries import files_of_brand
from siyu_graphql.file.types import File
from siyu_graphql.merge.queries import merges_of_brand
from siyu_graphql.merge.types import UserMerge
from siyu_graphql.nodes import BrandNode
from siyu_graphql.paging import Connection
from siyu_graphql.playbook.queries import enrolments_of_brand, playbooks_of_brand, preview_of_playbook
from siyu_graphql.playbook.types import Enrolment, Playbook, PlaybookPreview
from siyu_graphql.plugin.changes import SettingChange, changes_of_brand
from siyu_graphql.plugin.queries import plugins_of_brand
from siyu_graphql.plugin.types import Plugin
from siyu_graphql.preview.queries import preview_of_plugin, replay_of_brand
from siyu_graphql.preview.types import PluginPreview, Replay
from siyu_graphql.run.queries import runs_of_brand
from siyu_graphql.run.types import Run
from siyu_graphql.run.waiting import Waiting, waiting_of_brand
from siyu_graphql.segment.queries import segment_of_brand, segments_of_brand
from siyu_graphql.segment.types import Segment
from siyu_graphql.stage.flows import StageFlow, flows_of_brand
from siyu_graphql.stage.queries import stages_of_brand
from siyu_graphql.stage.types import Stage
from siyu_graphql.tag.queries import tags_of_brand
from siyu_graphql.tag.types import Tag
from siyu_graphql.task.queries import tasks_of_brand
from siyu_graphql.task.types import Task
from siyu_graphql.template.queries import preview_of_template, templates_of_brand, versions_of_template
from siyu_graphql.template.types import Template, TemplatePreview
from siyu_graphql.token.queries import tokens_of_brand
from siyu_graphql.token.types import AccessToken
from siyu_graphql.user.queries import user_of_brand, users_of_brand
from siyu_graphql.user.types import User, UserConnection
from siyu_graphql.voice.queries import voice_of_brand
from siyu_graphql.voice.types import BrandVoice

__all__ = ["Brand"]


ALL_USERS = 10_000
"""The cost of what evaluates the rules for all users."""
ALL_MOVES = 500
"""The cost of what reads the moves of a period, behind or ahead."""


@strawberry.type(description="A brand. Everything else belongs to one, and nothing is seen from another.")
class Brand(BrandNode):
    slug: str = strawberry.field(description="Its name for programs.")
    name: str = strawberry.field(description="Its name for people.")
    zone: str = strawberry.field(description="Its time zone, which says when a day begins: `Asia/Shanghai`.")
    now: datetime = strawberry.field(
        description="The moment that it lives at: the present, or the newest event of a brand that is replayed."
    )
    refreshed_at: datetime | None = strawberry.field(
        description="When all its users were last decided for. Null before the first refresh."
    )
    refresh_asked_at: datetime | None = strawberry.field(
        description="When a refresh was asked for that has not ended yet; null if none was."
    )

    users: UserConnection = strawberry.field(resolver=users_of_brand, description="Its users.")
    user: User | None = strawberry.field(resolver=user_of_brand, description="One of its users.")
    tags: list[Tag] = strawberry.field(resolver=tags_of_brand, description="The tags that its plugins give, by key.")
    facts: list[NamedFact] = strawberry.field(
        resolver=facts_of_brand,
        description="What the rules of its plugins look at, and users can be found and ordered by (`UserFilter.fact`).",
    )
    segments: Connection[Segment] = strawberry.field(
        resolver=segments_of_brand, description="The filters that are kept under a name, by it."
    )
    segment: Segment | None = strawberry.field(resolver=segment_of_brand, description="One of its segments.")
    files: list[File] = strawberry.field(
        resolver=files_of_brand, description="Its exports and imports of a day, the latest 100, the newest first."
    )
    stages: list[Stage] = strawberry.field(
        resolver=stages_of_brand, description="The stages of its tracks, in the order in which users pass through them."
    )
    events: Connection[Event] = strawberry.field(
        resolver=events_of_brand, description="What happened to its users, the latest received first."
    )
    stage_flows: list[StageFlow] = strawberry.field(
        resolver=flows_of_brand,
        description="How many users went from which stage of a track to which in a period: the most first, within each"
        " day. Costs as much as 500 objects.",
        metadata=priced(ALL_MOVES),
    )
    actions: Connection[Action] = strawberry.field(
        resolver=actions_of_brand, description="What was and is to be done for its users, the latest planned first."
    )
    tasks: Connection[Task] = strawberry.field(
        resolver=tasks_of_brand, description="What people are to do for its users, by deadline: the overdue first."
    )
    playbooks: list[Playbook] = strawberry.field(
        resolver=playbooks_of_brand, description="The playbooks of the plugins that are on, by name."
    )
    enrolments: Connection[Enrolment] = strawberry.field(
        resolver=enrolments_of_brand,
        description="Who is and was on the way through a playbook, the latest first.",
    )
    templates: Connection[Template] = strawberry.field(
        resolver=templates_of_brand,
        description="What its messages and tasks say, by key: the texts of the playbooks that are on, the brand's own"
        " in their place, and its content library.",
    )
    template_versions: Connection[Template] = strawberry.field(
        resolver=versions_of_template,
        description="The versions of its own texts under a key, the latest first; ended ones too.",
    )
    calendar: list[CalendarEntry] = strawberry.field(
        resolver=calendar_of_brand,
        description="What is in plan for the days ahead, by day: the days of the calendar that playbooks keep, and what"
        " those who are under way come to, of branches both ways, if nothing happens to them. Costs as much as 500"
        " objects.",
        metadata=priced(ALL_MOVES),
    )
    voice: BrandVoice = strawberry.field(
        resolver=voice_of_brand, description="How it speaks: in which language, how it calls its users, and as whom."
    )
    benefits: Connection[Benefit] = strawberry.field(
        resolver=benefits_of_brand, description="What there is to give, and how many are left, by key."
    )
    plugins: list[Plugin] = strawberry.field(
        resolver=plugins_of_brand, description="All installed plugins, and how the brand has set them."
    )
    setting_changes: Connection[SettingChange] = strawberry.field(
        resolver=changes_of_brand, description="Who changed how a plugin is set, the latest first."
    )
    runs: Connection[Run] = strawberry.field(
        resolver=runs_of_brand, description="Its refreshes and imports, the latest first."
    )
    merges: Connection[UserMerge] = strawberry.field(
        resolver=merges_of_brand,
        description="Users who were found to be one person, the latest first; undone ones too.",
    )
    waiting: Waiting = strawberry.field(resolver=waiting_of_brand, description="The work that waits to be done.")
    rejected_events: Connection[RejectedEvent] = strawberry.field(
        resolver=rejected_events, description="Events that were refused, the latest first."
    )
    tokens: Connection[AccessToken] | None = strawberry.field(
        resolver=tokens_of_brand,
        description="The tokens for this brand alone, the latest first. Needs the right to manage tokens.",
    )
    audit_log: Connection[AuditEntry] | None = strawberry.field(
        resolver=audit_log_of_brand,
        description="Who did what in the brand, who read personal data, and how plugins were set; the latest first."
        " Needs the right to read the audit log.",
    )
    preview_plugin: PluginPreview | None = strawberry.field(
        resolver=preview_of_plugin,
        description="What switching or setting a plugin would change, now. Needs the right to configure."
        " Nothing is written.",
        metadata=priced(ALL_USERS),
    )
    preview_playbook: PlaybookPreview | None = strawberry.field(
        resolver=preview_of_playbook,
        description="What a playbook would send in the days ahead, were its plugin on. Needs the right to configure."
        " Nothing is written.",
        metadata=priced(ALL_USERS),
    )
    preview_template: TemplatePreview | None = strawberry.field(
        resolver=preview_of_template,
        description="What a text says to a user, or would. Needs the right to see personal data, which the audit log"
        " keeps as read. Nothing is written.",
    )
    replay: Replay | None = strawberry.field(
        resolver=replay_of_brand,
        description="How many users each stage and tag would have had at past moments, under today's rules and, with"
        " the right to configure, under others. Nothing is written.",
        metadata=priced(ALL_USERS),
    )

    @classmethod
    def of(cls, row: models.Brand) -> Brand:
        """The brand as it is shown."""
        return cls(
            brand_id=row.id,
            number=row.id,
            slug=row.slug,
            name=row.name,
            zone=row.zone,
            now=now(row),
            refreshed_at=row.refreshed_at,
            refresh_asked_at=row.refresh_asked,
        )

    @classmethod
    def resolve_id(cls, root: BrandNode, *, info: Any) -> str:
        return str(root.brand_id)

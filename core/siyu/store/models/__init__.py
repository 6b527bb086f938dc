"""Tortoise models, a module per noun. Every table but ``brand``, ``access_token`` and ``trusted_document`` starts
with the brand.

The primary key that Tortoise knows is ``id``; in PostgreSQL the keys of the large tables are composite and start with
``brand_id`` (see the migrations), so queries always name the brand.
"""

from siyu.store.models.action import Action, Consent, OutboxMessage
from siyu.store.models.audit import AuditEntry
from siyu.store.models.benefit import Benefit, Granted
from siyu.store.models.brand import Brand
from siyu.store.models.change import ChangeBatch
from siyu.store.models.channel import ChannelState, ChannelUse
from siyu.store.models.decided import DecidedUser, DecisionSnapshot
from siyu.store.models.document import TrustedDocument
from siyu.store.models.event import DirtyUser, Event, RejectedEvent, SealedRange
from siyu.store.models.file import File
from siyu.store.models.installation import Installation
from siyu.store.models.playbook import Enrolment, Occasion, PlaybookVersion
from siyu.store.models.rulebook import Fence, PluginSetting, RulebookVersion, SettingChange
from siyu.store.models.run import Run
from siyu.store.models.segment import Segment
from siyu.store.models.stage import Stage, StageHistory, UserStage
from siyu.store.models.tag import Tag, TagAssignment, TagHistory
from siyu.store.models.task import Task
from siyu.store.models.template import Template
from siyu.store.models.token import AccessToken
from siyu.store.models.user import Identity, MergedUser, User, UserCount, UserMerge

__all__ = [
    "AccessToken",
    "Action",
    "AuditEntry",
    "Benefit",
    "Brand",
    "ChangeBatch",
    "ChannelState",
    "ChannelUse",
    "Consent",
    "DecidedUser",
    "DecisionSnapshot",
    "DirtyUser",
    "Enrolment",
    "Event",
    "Fence",
    "File",
    "Granted",
    "Identity",
    "Installation",
    "MergedUser",
    "Occasion",
    "OutboxMessage",
    "PlaybookVersion",
    "PluginSetting",
    "RejectedEvent",
    "RulebookVersion",
    "Run",
    "SealedRange",
    "Segment",
    "SettingChange",
    "Stage",
    "StageHistory",
    "Tag",
    "TagAssignment",
    "TagHistory",
    "Task",
    "Template",
    "TrustedDocument",
    "User",
    "UserCount",
    "UserMerge",
    "UserStage",
]

"""Stories of users as they are shown."""

from __future__ import annotations

from datetime import datetime

import strawberry

from siyu_graphql.action.types import Action
from siyu_graphql.consent.types import Consent
from siyu_graphql.playbook.types import Enrolment

__all__ = ["PlaybookTrigger", "UserStory"]


@strawberry.type(description="What would set a playbook off.")
class PlaybookTrigger:
    playbook: str = strawberry.field(description="The playbook: its plugin's name and its key, `care.first_touch`.")
    trigger: str = strawberry.field(description="What sets it off, in words.")


@strawberry.type(description="Why a user was written to in a time, or was not.")
class UserStory:
    since: datetime = strawberry.field(description="From when on, in the brand's time.")
    actions: list[Action] = strawberry.field(
        description="What was planned since then, the latest 200, the newest first: `status`, `reason` and `story` say"
        " what became of each."
    )
    enrolments: list[Enrolment] = strawberry.field(
        description="The playbooks that the user is on the way through, or was since then, the latest first."
    )
    consents: list[Consent] = strawberry.field(description="What the user said yes or no to, the latest first.")
    triggers: list[PlaybookTrigger] = strawberry.field(
        description="The playbooks that are on for the user, and what would set each off."
    )

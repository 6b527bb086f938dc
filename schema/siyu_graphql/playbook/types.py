"""Playbooks as they are shown."""

from __future__ import annotations

from datetime import date, datetime
from enum import Enum
from typing import TYPE_CHECKING, Annotated

import strawberry
from siyu.contract.playbooks import Assign, Send, Text
from siyu.contract.program import Instruction, Program, texts

from siyu_graphql.context import Info
from siyu_graphql.fields import computed
from siyu_graphql.mutations import Payload
from siyu_graphql.nodes import BrandNode
from siyu_graphql.paging import After, Before, Connection, First, Last, Term, Window, of_brand

if TYPE_CHECKING:
    from siyu_graphql.action.types import Purpose
    from siyu_graphql.user.types import User

__all__ = [
    "Enrolment",
    "EnrolmentStatus",
    "ExpectedMessages",
    "HeldMessages",
    "Playbook",
    "PlaybookPayload",
    "PlaybookPreview",
    "PlaybookStep",
    "PlaybookText",
    "PlaybookWay",
]


@strawberry.type(description="A text in a language.")
class PlaybookText:
    language: str = strawberry.field(description="The language: `zh`, `en`; empty where there is but one.")
    text: str = strawberry.field(description="The text, with the names that are filled in: `{{ name }}`.")


@strawberry.type(description="A way on from a step.")
class PlaybookWay:
    name: str = strawberry.field(description="For whom: `then`, `heard`, the arm of an experiment; empty: for all.")
    step: str | None = strawberry.field(description="The key of the step that follows; null at the end.")


@strawberry.type(description="A step of a playbook.")
class PlaybookStep:
    made: strawberry.Private[Program]
    instruction: strawberry.Private[Instruction]

    @computed("Its key, unique in the playbook.")
    def key(self) -> str:
        return self.instruction.key

    @computed("What it is: `Send`, `Grant`, `AddTag`, `Assign`, `Wait`, `When`, `Split`, `Stop`.")
    def kind(self) -> str:
        return type(self.instruction.step).__name__

    @computed("What it does, in words.")
    def words(self) -> str:
        return self.instruction.words

    @computed("The key of the channel by which it sends; null where it sends nothing.")
    def channel(self) -> str | None:
        return self.instruction.step.channel if isinstance(self.instruction.step, Send) else None

    @computed("What its message is for; null where it sends nothing.")
    def purpose(self) -> Annotated[Purpose, strawberry.lazy("siyu_graphql.action.types")] | None:
        from siyu_graphql.action.types import Purpose

        return Purpose(self.instruction.step.purpose) if isinstance(self.instruction.step, Send) else None

    @computed("Who is to do it; null where it is no task.")
    def role(self) -> str | None:
        return self.instruction.step.role if isinstance(self.instruction.step, Assign) else None

    @computed("What it says, or the title of its task, in each language.")
    def texts(self) -> list[PlaybookText]:
        step = self.instruction.step
        said: Text = step.text if isinstance(step, Send) else step.title if isinstance(step, Assign) else ""
        return [PlaybookText(language=language, text=text) for language, text in texts(said).items() if text]

    @computed("What may follow it.")
    def ways(self) -> list[PlaybookWay]:
        steps = self.made.instructions
        return [
            PlaybookWay(name=name, step=steps[number].key if number < len(steps) else None)
            for name, number in self.instruction.ways.items()
        ]


@strawberry.enum(description="Whether somebody is under way in a playbook.")
class EnrolmentStatus(Enum):
    ACTIVE = strawberry.enum_value("active", description="Is under way.")
    DONE = strawberry.enum_value("done", description="Went to an end.")
    GOAL = strawberry.enum_value("goal", description="Did what the playbook was for.")
    ENDED = strawberry.enum_value("ended", description="Was taken out early; `why` says by what.")


@strawberry.type(description="A user on the way through a playbook.")
class Enrolment(BrandNode):
    user_id: strawberry.Private[int]
    playbook: str = strawberry.field(description="The playbook: its plugin's name and its key, `care.first_touch`.")
    version: str = strawberry.field(description="The version that it began with, and goes on by.")
    status: EnrolmentStatus = strawberry.field(description="Whether it is under way.")
    step: str | None = strawberry.field(description="The key of the next step; null at the end.")
    due_at: datetime = strawberry.field(description="When the next step is taken.")
    listens: bool = strawberry.field(description="Whether it waits for an event until then.")
    because: str = strawberry.field(description="What set it off.")
    why: str = strawberry.field(description="Why it is over; empty where it went to its end.")
    began_at: datetime = strawberry.field(description="When it began.")
    ended_at: datetime | None = strawberry.field(description="When it was over.")

    @computed("Who is under way.")
    async def user(self, info: Info) -> Annotated[User, strawberry.lazy("siyu_graphql.user.types")] | None:
        from siyu_graphql.user.queries import find_user

        return await find_user(info, self.brand_id, str(self.user_id))


@strawberry.type(description="A playbook that is on: what sets it off, and what is done then, step by step.")
class Playbook(BrandNode):
    made: strawberry.Private[Program]
    counts: strawberry.Private[dict[str, int]]

    @computed("The name of its plugin.")
    def plugin(self) -> str:
        return self.made.plugin

    @computed("Its key in the plugin.")
    def key(self) -> str:
        return self.made.key

    @computed("Its plugin's name and its key: `care.first_touch`.")
    def name(self) -> str:
        return self.made.name

    @computed("What it is, in a line.")
    def title(self) -> str:
        return self.made.title

    @computed("The version under the parameters as they are. Whoever is under way goes on by the one they began with.")
    def version(self) -> str:
        return self.made.version

    @computed("What sets it off, in words.")
    def trigger(self) -> str:
        return self.made.trigger_words

    @computed("For whom it is, in words; `always` where it is for all.")
    def audience(self) -> str:
        return repr(self.made.audience)

    @computed("The kind or group of events that counts as success; null where there is none.")
    def goal(self) -> str | None:
        return self.made.goal or None

    @computed("When somebody may come in again: `never`, `day`, `month`, `year`, `always`, or a number of days.")
    def reentry(self) -> str:
        return str(self.made.reentry)

    @computed("Its steps, in order.")
    def steps(self) -> list[PlaybookStep]:
        return [PlaybookStep(made=self.made, instruction=each) for each in self.made.instructions]

    @computed("Its steps as a graph, in the language of Mermaid.")
    def diagram(self) -> str:
        return self.made.mermaid()

    @computed("How many users are under way.")
    def under_way(self) -> int:
        return self.counts.get("active", 0)

    @computed("How many users did what it is for.")
    def reached(self) -> int:
        return self.counts.get("goal", 0)

    @computed("How many users have come in so far.")
    def entered(self) -> int:
        return sum(self.counts.values())

    @computed("Who is and was under way, the latest first.")
    async def enrolments(
        self, info: Info, first: First = None, after: After = None, last: Last = None, before: Before = None
    ) -> Connection[Enrolment]:
        from siyu_graphql.playbook.queries import ENROLMENTS

        mine = Term("t.playbook = {}", (self.made.name,))
        return of_brand(info, self.brand_id, ENROLMENTS, Window(first, after, last, before), mine)


@strawberry.type(description="How many messages the guard would hold for good, for one reason.")
class HeldMessages:
    reason: str = strawberry.field(description="The reason: the key of a check, `cap`, `quiet`; or `no_channel`.")
    meaning: str = strawberry.field(description="What it means, in words.")
    messages: float = strawberry.field(description="How many.")


@strawberry.type(description="How many of a step's messages are planned for a day, and what the guard makes of them.")
class ExpectedMessages:
    day: date = strawberry.field(description="The day, in the brand's zone.")
    step: str = strawberry.field(description="The key of the step.")
    channel: str = strawberry.field(description="The key of the channel; of tasks `tasks`.")
    purpose: Annotated[Purpose, strawberry.lazy("siyu_graphql.action.types")] = strawberry.field(
        description="What they are for."
    )
    messages: float = strawberry.field(description="How many.")
    passing: float = strawberry.field(description="How many of them the guard lets go out.")
    delayed: float = strawberry.field(
        description="How many of those that pass wait first, for the morning or until a cap has room."
    )
    held: list[HeldMessages] = strawberry.field(description="What the guard holds for good, by reason.")


@strawberry.type(
    description="What a playbook would send in the days ahead: the calendar's days for sure, others as lately. Nothing"
    " happens to anybody meanwhile; the guard is asked with what is known now."
)
class PlaybookPreview:
    at: datetime = strawberry.field(description="The moment from which it looks ahead.")
    entering: float = strawberry.field(description="How many users will come in.")
    under_way: int = strawberry.field(description="How many are under way already.")
    expected: list[ExpectedMessages] = strawberry.field(description="What goes out, by day and step.")


@strawberry.type(description="Who was taken into a playbook.")
class PlaybookPayload(Payload):
    playbook: Playbook | None = strawberry.field(default=None, description="The playbook; null where it was refused.")
    started: int | None = strawberry.field(default=None, description="How many users came in.")

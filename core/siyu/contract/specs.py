"""The hooks of siyu, by kind. A plugin is a module that implements some of them.

    from siyu import hookimpl, Segmenter, Tag, DaysSince

    class Silent(Segmenter):
        last_order = DaysSince("order.paid")

        def tags(self, p):
            yield Tag("mine.silent", "沉默", when=self.last_order > 60, because="last order {last_order} days ago")

    @hookimpl
    def siyu_segmenters():
        return [Silent]

Every hook is called once when the plugins are loaded, without arguments, and returns declarations: classes (or
kinds of events, names and attributes). It never does the work itself, reads no database and no clock. What is declared
counts for a brand only while the plugin is on there; kinds count for all, as history must stay readable.

``siyu_graphql`` adds one more, ``siyu_graphql_types``, for types, fields and mutations beyond the declared ones.
"""

from __future__ import annotations

from collections.abc import Iterable

from siyu.contract.attributes import AttributeKind
from siyu.contract.channels import Channel
from siyu.contract.checks import Check
from siyu.contract.events import EventKind
from siyu.contract.identities import IdentityKind
from siyu.contract.later import FeedbackHandler, Metric, SizingPolicy
from siyu.contract.markers import hookspec
from siyu.contract.playbooks import Playbook
from siyu.contract.rules import FittedSegmenter, Lifecycle, Segmenter

__all__ = [
    "siyu_attributes",
    "siyu_channels",
    "siyu_checks",
    "siyu_event_kinds",
    "siyu_feedback_handlers",
    "siyu_identity_kinds",
    "siyu_lifecycles",
    "siyu_metrics",
    "siyu_playbooks",
    "siyu_segmenters",
    "siyu_sizing_policies",
]


# -- what users are -----------------------------------------------------------------------------------------------


@hookspec
def siyu_event_kinds() -> Iterable[EventKind]:  # type: ignore[empty-body]
    """Event kinds and the shape of their payload.

    Called when plugins are loaded. Names must be new; each kind becomes valid input for every brand, and facts of
    any plugin may be declared over it.
    """


@hookspec
def siyu_identity_kinds() -> Iterable[IdentityKind]:  # type: ignore[empty-body]
    """Kinds of names that users go by, and what they prove.

    Called when plugins are loaded. Names must be new; each kind counts for every brand: two users are merged where an
    event names both by kinds that prove who they are. Names of other kinds are taken too, and merge nobody.
    """


@hookspec
def siyu_attributes() -> Iterable[AttributeKind]:  # type: ignore[empty-body]
    """Attributes of users that rules look at, and what their text stands for.

    Called when plugins are loaded. Facts of any plugin may be declared over them, and over no others. What two plugins
    declare with the same type and values is one attribute; with others it is an error that names both. Updates of
    profiles may carry attributes that nobody declares.
    """


@hookspec
def siyu_segmenters() -> Iterable[type[Segmenter | FittedSegmenter]]:  # type: ignore[empty-body]
    """Rules that give tags.

    Called when plugins are loaded. Where the plugin is on, each segmenter is evaluated for every user of the brand in
    the nightly run and for single users after their events. Keys of tags must start with the plugin's name.
    """


@hookspec
def siyu_lifecycles() -> Iterable[type[Lifecycle]]:  # type: ignore[empty-body]
    """Rules that give the stage in a track (``lifecycle``, ``relationship``, ``membership``).

    Called when plugins are loaded. The key of the class names the track; only one plugin that is on may rule a
    track of a brand.
    """


# -- what is done for them ----------------------------------------------------------------------------------------


@hookspec
def siyu_playbooks() -> Iterable[type[Playbook]]:  # type: ignore[empty-body]
    """Triggers and steps.

    Called when plugins are loaded. Where the plugin is on, events and the changes of each decision are held against the
    triggers; users whom one meets are taken in, and moved on from step to step as these fall due.
    """


@hookspec
def siyu_channels() -> Iterable[type[Channel]]:  # type: ignore[empty-body]
    """How a message or task leaves the house.

    Called when plugins are loaded. ``deliver`` is called by the dispatcher with batches of leased actions whose step
    names the channel's key.
    """


@hookspec
def siyu_checks() -> Iterable[type[Check]]:  # type: ignore[empty-body]
    """What an action must pass before it leaves the house, beyond the checks of the built-in plugin ``guard``.

    Called when plugins are loaded. Where the plugin is on, each check is asked about every batch of actions that are
    due on its channels, after the built-in ones.
    """


@hookspec
def siyu_feedback_handlers() -> Iterable[type[FeedbackHandler]]:  # type: ignore[empty-body]
    """What a review, complaint, need or question sets off. Called when plugins are loaded; listed, not yet run."""


@hookspec
def siyu_sizing_policies() -> Iterable[type[SizingPolicy]]:  # type: ignore[empty-body]
    """How communities are sized, split and filled. Called when plugins are loaded; listed, not yet run."""


# -- what it was worth --------------------------------------------------------------------------------------------


@hookspec
def siyu_metrics() -> Iterable[type[Metric]]:  # type: ignore[empty-body]
    """Figures over the decisions and actions. Called when plugins are loaded; listed, not yet run."""

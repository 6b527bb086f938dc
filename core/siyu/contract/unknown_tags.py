"""Tags that rules and playbooks ask for and nothing gives: of a plugin that is off, or misspelt.

Nothing fails for it, as a plugin may well ask for what another gives where that is on; it is a tag that nobody has.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches

from siyu.contract.conditions import Condition, HasTag, walk
from siyu.contract.playbooks import Daily, TagGained, TagLost
from siyu.contract.program import Program

__all__ = ["UnknownTag", "tags_in", "tags_of_program", "unknown_tags"]


@dataclass(frozen=True)
class UnknownTag:
    """A tag that nothing gives, and the rule or playbook of a plugin that asks for it. ``given_by`` is the installed
    plugin that would give it: it is off, or set otherwise. Where there is none, the tag may be misspelt."""

    plugin: str
    rule: str
    tag: str
    given_by: str | None
    remedy: str

    def __str__(self) -> str:
        return f"{self.plugin}.{self.rule} asks for the tag {self.tag!r}, which nothing gives ({self.remedy})"


def tags_in(conditions: Iterable[Condition]) -> set[str]:
    """The tags that conditions ask for."""
    return {part.key for condition in conditions for part in walk(condition) if isinstance(part, HasTag)}


def tags_of_program(program: Program) -> set[str]:
    """The tags that a playbook asks for, or waits for: ``pets.next_*`` stands for all that begin so."""
    conditions = [program.audience, *program.conditions]
    match program.trigger:
        case TagGained(tag) | TagLost(tag):
            return {tag, *tags_in(conditions)}
        case Daily(when):
            conditions.append(when)
    return tags_in(conditions)


def unknown_tags(
    asked: Mapping[tuple[str, str], Collection[str]], given: Collection[str], installed: Mapping[str, Collection[str]]
) -> list[UnknownTag]:
    """Those of the tags that are ``asked`` for, by plugin and rule, that are none of the ``given`` ones. ``installed``
    are the tags that plugins would give under their default parameters. ``rfm.*`` is any tag that begins so."""
    return [
        UnknownTag(plugin, rule, tag, *_remedy(tag, given, installed))
        for (plugin, rule), tags in sorted(asked.items())
        for tag in sorted(tags)
        if not _among(tag, given)
    ]


def _among(tag: str, tags: Collection[str]) -> bool:
    if tag in tags:
        return True
    stem = tag.removesuffix("*")
    for each in tags:
        other = each.removesuffix("*")
        if (stem != tag and other.startswith(stem)) or (other != each and stem.startswith(other)):
            return True
    return False


def _remedy(tag: str, given: Collection[str], installed: Mapping[str, Collection[str]]) -> tuple[str | None, str]:
    for plugin, tags in installed.items():
        if _among(tag, tags):
            return plugin, f"{plugin} would give it: switch it on, or set it so"
    every = {*given, *(each for tags in installed.values() for each in tags)}
    if like := get_close_matches(tag.removesuffix("*"), sorted(each for each in every if not each.endswith("*"))):
        return None, f"like it are: {', '.join(like)}"
    plugin = tag.partition(".")[0]
    return None, f"{plugin} gives no such tag" if plugin in installed else f"no plugin {plugin!r} is installed"

/** Reasons (`because`) in the language of the page: siyu gives the words of the plugin that decided. */

import words from "./reasons.json";

const PLACE = /\{(\w+)\}/g;

// The longest first: one may begin as another does.
const known = Object.entries(words)
  .toSorted(([one], [other]) => other.length - one.length)
  .map(([theirs, ours]) => {
    const literal = theirs.split(/\{\w+\}/).map((part) => part.replace(/[.*+?^${}()|[\]\\]/g, "\\$&"));
    const names = [...theirs.matchAll(PLACE)].map((match) => match[1]);
    return { pattern: new RegExp(`^${literal.join("(.+?)")}$`, "u"), names, ours };
  });

/** The reason in Chinese; as it is where `reasons.json` has no words for it, as for a plugin of your own. */
export function reason(because: string): string {
  for (const { pattern, names, ours } of known) {
    const values = pattern.exec(because)?.slice(1);
    if (values)
      return ours
        .replace(PLACE, (_, name: string) => values[names.indexOf(name)] ?? "")
        .replace(/(?<!\d)0 天前/, "今天");
  }
  return because;
}

import { useState } from "react";

import { count } from "../words";
import type { Filters } from "./UsersPage";

const MOST = 20;

/** Tags to filter by: users have all that are chosen. */
export function Tags(props: { tags: Filters["tags"]; chosen: string[]; onChoose: (tags: string[]) => void }) {
  const [words, setWords] = useState("");
  const [open, setOpen] = useState(false);
  const found = props.tags
    .filter((tag) => tag.users > 0 && !props.chosen.includes(tag.key))
    .filter((tag) => `${tag.title} ${tag.key}`.toLowerCase().includes(words.toLowerCase()))
    .toSorted((one, other) => other.users - one.users)
    .slice(0, MOST);

  function add(key: string) {
    props.onChoose([...props.chosen, key]);
    setWords("");
    setOpen(false);
  }

  return (
    <div className="tags" onBlur={(event) => !event.currentTarget.contains(event.relatedTarget) && setOpen(false)}>
      {props.chosen.map((key) => (
        <button
          type="button"
          className="chip chosen"
          key={key}
          aria-label={`去掉 ${key}`}
          onClick={() => props.onChoose(props.chosen.filter((each) => each !== key))}
        >
          {props.tags.find((tag) => tag.key === key)?.title ?? key} <b>×</b>
        </button>
      ))}
      <input
        value={words}
        placeholder="按标签筛选…"
        aria-label="按标签筛选"
        onFocus={() => setOpen(true)}
        onChange={(event) => {
          setWords(event.target.value);
          setOpen(true);
        }}
        onKeyDown={(event) => {
          const [first] = found;
          if (event.key === "Enter" && first) add(first.key);
          if (event.key === "Escape") setOpen(false);
        }}
      />
      {open && (
        <ul className="menu">
          {found.map((tag) => (
            <li key={tag.key}>
              <button type="button" data-tag={tag.key} onClick={() => add(tag.key)}>
                <span>{tag.title}</span>
                <code>{tag.key}</code>
                <em>{count.format(tag.users)}</em>
              </button>
            </li>
          ))}
          {found.length === 0 && <li className="dim">没有这样的标签</li>}
        </ul>
      )}
    </div>
  );
}

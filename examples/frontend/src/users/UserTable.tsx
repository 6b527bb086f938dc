import { Fragment, useEffect, useRef, useState } from "react";

import { reason } from "../reasons";
import { ago, called, date, whole } from "../words";
import type { Users } from "./UsersPage";

type User = Users["nodes"][number];

const SHOWN = 4;
const FLASH_MS = 4_000;

/** What somebody would notice about a row. */
const looks = (user: User) => JSON.stringify([user.stages.map((each) => each.key), user.tags.map((each) => each.key)]);

/** The users whose row has changed a moment ago, or come in. */
function useChanged(users: User[]): Set<string> {
  const before = useRef<Map<string, string> | null>(null);
  const [changed, setChanged] = useState<Set<string>>(new Set());
  useEffect(() => {
    const now = new Map(users.map((user) => [user.id, looks(user)]));
    const known = before.current;
    before.current = now;
    // Another page or filter is no change.
    if (!known || ![...now.keys()].some((id) => known.has(id))) return;
    const fresh = [...now].filter(([id, look]) => known.get(id) !== look).map(([id]) => id);
    if (fresh.length === 0 || fresh.length > now.size / 2) return;
    setChanged(new Set(fresh));
    const timer = setTimeout(() => setChanged(new Set()), FLASH_MS);
    return () => clearTimeout(timer);
  }, [users]);
  return changed;
}

/** Rows of users; the tags that were asked for (`first`) come first. */
export function UserTable(props: { users: User[]; now: string; track: string; first: string[] }) {
  const { users, now, track, first } = props;
  const [opened, setOpened] = useState<string | null>(null);
  const changed = useChanged(users);
  if (users.length === 0) return <p className="empty">没有符合条件的用户。</p>;
  return (
    <table>
      <thead>
        <tr>
          <th>用户</th>
          <th>阶段</th>
          <th>为什么</th>
          <th>标签</th>
          <th>最近互动</th>
        </tr>
      </thead>
      <tbody>
        {users.map((user) => {
          const stage = user.stages.find((each) => each.track === track) ?? user.stages[0];
          const open = opened === user.id;
          const name = called(user);
          const tags = user.tags.toSorted((one, other) => +first.includes(other.key) - +first.includes(one.key));
          return (
            <Fragment key={user.id}>
              <tr
                className={changed.has(user.id) ? "row changed" : "row"}
                data-user={user.identities[0]?.value}
                onClick={() => setOpened(open ? null : user.id)}
              >
                <td>
                  <div className="who">
                    <span className="face">{name.slice(0, 1)}</span>
                    <span>
                      <button type="button" className="name" aria-expanded={open}>
                        {name}
                      </button>
                      <small>{user.identities.map((each) => `${each.kind} ${each.value}`).join(" · ")}</small>
                    </span>
                  </div>
                </td>
                <td className="where">
                  {stage && (
                    <>
                      <span className={`badge ${stage.key}`}>{stage.title}</span>
                      <small title={whole(stage.since)}>{date(stage.since)} 起</small>
                    </>
                  )}
                </td>
                <td className="why">{stage && reason(stage.because)}</td>
                <td>
                  <div className="chips">
                    {tags.slice(0, SHOWN).map((tag) => (
                      <span className={first.includes(tag.key) ? "chip asked" : "chip"} key={tag.key} title={reason(tag.because)}>
                        {tag.title}
                      </span>
                    ))}
                    {user.tags.length > SHOWN && <span className="chip more">+{user.tags.length - SHOWN}</span>}
                  </div>
                </td>
                <td className="when" title={whole(user.lastSeen)}>
                  {ago(user.lastSeen, now)}
                </td>
              </tr>
              {open && (
                <tr className="reasons">
                  <td colSpan={5}>
                    <dl>
                      {[...user.stages, ...user.tags].map((each) => (
                        <div key={`${"track" in each ? each.track : ""} ${each.key}`}>
                          <dt>
                            {each.title} <code>{each.key}</code>
                          </dt>
                          <dd>
                            {reason(each.because)}
                            <small>{date(each.since)} 起</small>
                          </dd>
                        </div>
                      ))}
                    </dl>
                  </td>
                </tr>
              )}
            </Fragment>
          );
        })}
      </tbody>
    </table>
  );
}

import { useCallback, useEffect, useRef, useState } from "react";

import type { Api } from "../api";
import { FiltersDocument, type FiltersQuery, UsersDocument, type UsersQuery } from "../gql/graphql";
import { Problem } from "../Problem";
import { count, whole } from "../words";
import { Stages } from "./Stages";
import { Tags } from "./Tags";
import { UserTable } from "./UserTable";
import { useLive } from "./live";

const PAGE = 12;

export type Filters = NonNullable<FiltersQuery["brand"]>;
export type Users = NonNullable<UsersQuery["brand"]>["users"];
export interface ChosenStage {
  track: string;
  key: string;
}

/** Users of a stage and with tags, a page at a time, as they are now. */
export function UsersPage({ api, brand }: { api: Api; brand: string }) {
  const [stage, setStage] = useState<ChosenStage | null>(null);
  const [tags, setTags] = useState<string[]>([]);
  // Where each page begins; the last is the one that is shown.
  const [cursors, setCursors] = useState<(string | null)[]>([null]);
  const [filters, setFilters] = useState<Filters | null>(null);
  const [users, setUsers] = useState<Users | null>(null);
  const [problem, setProblem] = useState<Error | null>(null);
  const after = cursors[cursors.length - 1] ?? null;
  const ask = useCallback(
    () =>
      Promise.all([
        api.ask(FiltersDocument, { brand }),
        api.ask(UsersDocument, { brand, filter: { stage, tag: tags }, first: PAGE, after }),
      ]),
    [api, brand, stage, tags, after],
  );
  // An answer that comes when another page or filter is chosen by then is not shown.
  const wanted = useRef(ask);
  const load = useCallback(
    () =>
      ask().then(
        ([found, page]) => {
          if (wanted.current !== ask) return;
          setFilters(found.brand ?? null);
          setUsers(page.brand?.users ?? null);
          setProblem(null);
        },
        (error: Error) => wanted.current === ask && setProblem(error),
      ),
    [ask],
  );
  useEffect(() => {
    wanted.current = ask;
    void load();
  }, [ask, load]);
  const run = useLive(api, brand, load);

  function choose(next: () => void) {
    setCursors([null]);
    next();
  }

  return (
    <main className="page">
      <div className="title">
        <h1>用户</h1>
        {filters && <span className="dim">数据时间 {whole(filters.now)}</span>}
        {run?.status === "RUNNING" && (
          <span className="run">
            正在重新计算 <progress value={run.progress} />
          </span>
        )}
        {run?.status === "DONE" && (
          <span className="run">
            已重新计算 {count.format(run.users)} 人，{count.format(run.changes)} 处变化
          </span>
        )}
        {run?.status === "FAILED" && <span className="run failed">重新计算失败，仍是之前的结果</span>}
      </div>
      {problem && <Problem error={problem} onRetry={() => void load()} />}
      {filters && <Stages stages={filters.stages} chosen={stage} onChoose={(next) => choose(() => setStage(next))} />}
      <section className="card">
        <div className="bar">
          {filters && <Tags tags={filters.tags} chosen={tags} onChoose={(next) => choose(() => setTags(next))} />}
          <span className="total" data-testid="total">
            {users ? `${count.format(users.totalCount)} 人` : ""}
          </span>
        </div>
        {users && filters ? (
          <UserTable users={users.nodes} now={filters.now} track={stage?.track ?? "lifecycle"} first={tags} />
        ) : (
          !problem && <p className="empty">正在读取…</p>
        )}
        {users && (
          <div className="pages">
            <button
              type="button"
              className="quiet"
              disabled={cursors.length === 1}
              onClick={() => setCursors(cursors.slice(0, -1))}
            >
              上一页
            </button>
            <span>
              第 {cursors.length} / {Math.max(1, Math.ceil(users.totalCount / PAGE))} 页
            </span>
            <button
              type="button"
              className="quiet"
              disabled={!users.pageInfo.hasNextPage}
              onClick={() => setCursors([...cursors, users.pageInfo.endCursor ?? null])}
            >
              下一页
            </button>
          </div>
        )}
      </section>
    </main>
  );
}

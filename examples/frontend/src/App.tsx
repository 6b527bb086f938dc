import { type FormEvent, useEffect, useMemo, useState } from "react";

import { Api } from "./api";
import { SessionDocument, type SessionQuery } from "./gql/graphql";
import { Problem } from "./Problem";
import { UsersPage } from "./users/UsersPage";

const KEPT = "siyu.token";

/** A token in the address (`#token=…`, as `siyu demo` prints it) is taken out of it and kept until the tab is closed. */
function givenToken(): string {
  const given = new URLSearchParams(location.hash.slice(1)).get("token");
  if (given) {
    sessionStorage.setItem(KEPT, given);
    history.replaceState(null, "", location.pathname + location.search);
  }
  return sessionStorage.getItem(KEPT) ?? "";
}

export function App() {
  const [token, setToken] = useState(givenToken);
  const [online, setOnline] = useState(false);
  const [session, setSession] = useState<SessionQuery | null>(null);
  const [brand, setBrand] = useState(() => new URLSearchParams(location.search).get("brand") ?? "");
  const [problem, setProblem] = useState<Error | null>(null);
  const api = useMemo(() => (token ? new Api(token, setOnline) : null), [token]);

  useEffect(() => {
    if (!api) return;
    const abort = new AbortController();
    api.ask(SessionDocument, {}, abort.signal).then(
      (found) => {
        sessionStorage.setItem(KEPT, token);
        setProblem(null);
        setSession(found);
        setBrand((chosen) => chosen || (found.brands[0]?.slug ?? ""));
      },
      (error: Error) => {
        if (abort.signal.aborted) return;
        sessionStorage.removeItem(KEPT);
        setToken("");
        setProblem(error);
      },
    );
    return () => abort.abort();
  }, [api, token]);

  function leave() {
    sessionStorage.removeItem(KEPT);
    setSession(null);
    setToken("");
  }

  if (!api || !session) return <SignIn problem={problem} onToken={setToken} waiting={Boolean(token && !problem)} />;
  return (
    <>
      <header className="top">
        <span className="mark">私</span>
        <strong>siyu</strong>
        <nav>
          <a href="/" aria-current="page">
            用户
          </a>
        </nav>
        <span className={online ? "online" : "online off"} role="status">
          {online ? "实时" : "正在连接…"}
        </span>
        <label className="brand">
          品牌
          <select value={brand} onChange={(event) => setBrand(event.target.value)}>
            {session.brands.map((each) => (
              <option key={each.slug} value={each.slug}>
                {each.name}
              </option>
            ))}
          </select>
        </label>
        <button type="button" className="quiet" onClick={leave}>
          退出
        </button>
      </header>
      {brand ? <UsersPage key={brand} api={api} brand={brand} /> : <p className="empty">还没有品牌。</p>}
    </>
  );
}

function SignIn(props: { problem: Error | null; waiting: boolean; onToken: (token: string) => void }) {
  function submit(event: FormEvent<HTMLFormElement>) {
    event.preventDefault();
    const given = new FormData(event.currentTarget).get("token");
    if (typeof given === "string" && given.trim()) props.onToken(given.trim());
  }
  return (
    <main className="sign-in">
      <form onSubmit={submit}>
        <span className="mark large">私</span>
        <h1>siyu 私域</h1>
        <p>请输入访问令牌。没有的话，运行 siyu seed 就有一个虚构的品牌和它的令牌。</p>
        {props.problem && <Problem error={props.problem} />}
        <input name="token" type="password" placeholder="siyu_…" aria-label="访问令牌" autoComplete="off" />
        <button type="submit" disabled={props.waiting}>
          {props.waiting ? "正在进入…" : "进入"}
        </button>
      </form>
    </main>
  );
}

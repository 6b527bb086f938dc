"use strict";

// The token comes in the URL fragment, which a browser never sends; it stays in this tab and leaves the address bar.
const KEY = "siyu.token";

function takeToken() {
  const token = new URLSearchParams(location.hash.slice(1)).get("token");
  if (token) {
    sessionStorage.setItem(KEY, token);
    history.replaceState(null, "", location.pathname + location.search);
  }
  return token;
}

function authorization() {
  const token = sessionStorage.getItem(KEY);
  return token ? { Authorization: `Bearer ${token}` } : {};
}

// What is typed under "Headers" counts: its token outlives a reload.
function keepToken(headers) {
  try {
    const token = /^Bearer (\S+)$/.exec(JSON.parse(headers).Authorization)?.[1];
    if (token) sessionStorage.setItem(KEY, token);
  } catch {
    return; // still being typed
  }
  showHint();
}

function showHint() {
  document.getElementById("no-token").hidden = sessionStorage.getItem(KEY) !== null;
}

takeToken();
showHint();
addEventListener("hashchange", () => takeToken() && location.reload());

const page = JSON.parse(document.getElementById("siyu-page").textContent);
const headers = sessionStorage.getItem(KEY) ? JSON.stringify(authorization(), null, 2) : undefined;
// GraphiQL has defaults for the query but not for the variables: both are put where it keeps what was typed.
if (sessionStorage.getItem("graphiql:query") === null) {
  sessionStorage.setItem("graphiql:query", page.query);
  sessionStorage.setItem("graphiql:variables", page.variables ?? "");
}

const send = GraphiQL.createFetcher({
  url: location.pathname,
  subscriptionUrl: location.origin.replace(/^http/, "ws") + location.pathname,
});

ReactDOM.createRoot(document.getElementById("graphiql")).render(
  React.createElement(
    GraphiQL,
    {
      fetcher: (params, options) => send(params, { ...options, headers: options?.headers ?? authorization() }),
      storage: sessionStorage,
      defaultQuery: "# Ctrl-Enter runs it; Ctrl-Space shows what can be asked\n",
      headers,
      defaultHeaders: headers,
      onEditHeaders: keepToken,
      defaultEditorToolsVisibility: page.variables ? "variables" : "headers",
    },
    React.createElement(GraphiQL.Logo, null, "siyu 私域"),
  ),
);

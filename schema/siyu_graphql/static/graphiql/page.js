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

const examples = JSON.parse(document.getElementById("siyu-examples").textContent);
const headers = sessionStorage.getItem(KEY) ? JSON.stringify(authorization(), null, 2) : undefined;

const send = GraphiQL.createFetcher({
  url: location.pathname,
  subscriptionUrl: location.origin.replace(/^http/, "ws") + location.pathname,
});

// The brand that the examples are about: the first that the token may see.
async function firstBrand() {
  if (!headers) return "";
  const asked = { method: "POST", body: JSON.stringify({ query: "{ brands { slug } }" }) };
  const answer = await fetch(location.pathname, {
    ...asked,
    headers: { "Content-Type": "application/json", Accept: "application/json", ...authorization() },
  });
  return (await answer.json()).data?.brands[0]?.slug ?? "";
}

function tab(query, brand) {
  const given = query.includes("$user") ? { brand, user: [] } : { brand };
  return { query, variables: JSON.stringify(given, null, 2), headers };
}

function show(brand) {
  const tabs = examples.map((query) => tab(query, brand));
  // GraphiQL does not show the variables of the first tab: they are put where it keeps what was typed.
  if (sessionStorage.getItem("graphiql:query") === null) {
    sessionStorage.setItem("graphiql:query", tabs[0].query);
    sessionStorage.setItem("graphiql:variables", tabs[0].variables);
  }
  ReactDOM.createRoot(document.getElementById("graphiql")).render(
    React.createElement(
      GraphiQL,
      {
        fetcher: (params, options) => send(params, { ...options, headers: options?.headers ?? authorization() }),
        storage: sessionStorage,
        defaultQuery: "# Ctrl-Enter runs it; Ctrl-Space shows what can be asked\n",
        defaultTabs: tabs,
        headers,
        defaultHeaders: headers,
        onEditHeaders: keepToken,
        defaultEditorToolsVisibility: headers ? "variables" : "headers",
        schemaDescription: true,
      },
      React.createElement(GraphiQL.Logo, null, "siyu 私域"),
    ),
  );
}

firstBrand().then(show, () => show(""));

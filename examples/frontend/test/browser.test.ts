/** The page in a real browser, on the demo's real purchases and on the invented brand. Run it with `make test-browser`. */

import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";

import { type Browser, chromium, type Page, type WebSocketRoute } from "playwright-core";

const SIYU = process.env.SIYU ?? "siyu";
const CHROMIUM = process.env.CHROMIUM ?? "/usr/bin/chromium";
const FLAGS = ["no-sandbox", "disable-gpu", "disable-quic", "no-first-run", "disable-background-networking"]
  .concat("disable-component-update", "disable-sync")
  .map((flag) => `--${flag}`);
const SHOT = process.env.SCREENSHOT;

const home = mkdtempSync(join(tmpdir(), "siyu-browser-"));
const env = { ...process.env, SIYU_HOME: join(home, "home"), SIYU_EMBEDDED_FSYNC: "off" };
const running: ChildProcess[] = [];
const demo = { url: "", token: "" };
let page = "";
let browser: Browser;

function freePort(): Promise<number> {
  return new Promise((resolve) => {
    const server = createServer().listen(0, "127.0.0.1", () => {
      const { port } = server.address() as { port: number };
      server.close(() => resolve(port));
    });
  });
}

/** Starts a program and waits until it has printed what matches. */
function started(command: string, words: string[], ready: RegExp, more: NodeJS.ProcessEnv = {}): Promise<string> {
  const child = spawn(command, words, { env: { ...env, ...more }, stdio: ["ignore", "pipe", "pipe"] });
  running.push(child);
  return new Promise((resolve, reject) => {
    let text = "";
    for (const stream of [child.stdout, child.stderr])
      stream.on("data", (part: Buffer) => {
        text += part.toString();
        const found = ready.exec(text);
        if (found) resolve(found[1] ?? "");
      });
    child.on("exit", (code) => reject(new Error(`${command} ${words.join(" ")} ended with ${code}: ${text}`)));
  });
}

async function answering(url: string): Promise<void> {
  for (let left = 300; left > 0; left -= 1) {
    if (await fetch(url).then((response) => response.ok, () => false)) return;
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  throw new Error(`${url} does not answer`);
}

async function ask(query: string): Promise<unknown> {
  const response = await fetch(`${demo.url}/graphql`, {
    method: "POST",
    headers: { "Content-Type": "application/json", Authorization: `Bearer ${demo.token}` },
    body: JSON.stringify({ query }),
  });
  const answer = (await response.json()) as { data?: unknown; errors?: unknown };
  assert.equal(answer.errors, undefined);
  return answer.data;
}

/** The household buys something. */
const buy = (household: string | null) =>
  ask(`mutation { recordEvents(brand: "demo", events: [{ id: "bought-${household}", kind: "order.paid",
    user: [{ kind: "household", value: "${household}" }], payload: { amount: 25.5 } }]) { accepted } }`);

/** The stage that a household comes to by buying once more. */
async function nextStage(household: string | null): Promise<"growth" | "mature"> {
  const found = (await ask(`{ brand(slug: "demo") { user(identity: { kind: "household", value: "${household}" }) {
    facts(plugin: "lifecycle", names: ["recent"]) { value } } } }`)) as { brand: { user: { facts: [{ value: number }] } } };
  return found.brand.user.facts[0].value + 1 < 12 ? "growth" : "mature";
}

const sockets = new Map<Page, Set<WebSocketRoute>>();

interface Pane {
  CodeMirror: { getValue: () => string };
}

/** Waits until the page asks for nothing, and for longer than one that looks every few seconds would. */
async function quiet(tab: Page): Promise<void> {
  const asked = () => tab.waitForRequest("**/graphql", { timeout: 4_000 }).then(() => true, () => false);
  for (let left = 5; left > 0; left -= 1) if (!(await asked())) return;
  throw new Error("the page asks again and again although nothing has changed");
}

/** A page of its own, on which nothing may go wrong. */
async function opened(token: string, height = 900): Promise<{ tab: Page; faults: string[] }> {
  const tab = await browser.newPage({ viewport: { width: 1360, height }, locale: "zh-CN", timezoneId: "Asia/Shanghai" });
  const faults: string[] = [];
  tab.on("pageerror", (error) => faults.push(String(error)));
  tab.on("console", (message) => message.type() === "error" && faults.push(message.text()));
  const open = new Set<WebSocketRoute>();
  sockets.set(tab, open);
  await tab.routeWebSocket("**/graphql", (each) => {
    open.add(each);
    each.connectToServer();
  });
  await tab.goto(`${page}/#token=${token}`);
  await tab.locator("tr.row").first().waitFor();
  return { tab, faults };
}

const count = new Intl.NumberFormat("zh-CN");
const total = async (tab: Page) => Number((await tab.getByTestId("total").innerText()).replace(/\D/g, ""));
const inStage = async (tab: Page, key: string) =>
  Number((await tab.locator(`[data-stage=${key}] strong`).innerText()).replace(/\D/g, ""));

before(
  async () => {
    const [port, own] = [await freePort(), await freePort()];
    demo.url = `http://127.0.0.1:${port}`;
    demo.token = await started(SIYU, ["demo", "--port", String(port)], /^Token +(\S+)/m);
    await answering(`${demo.url}/readyz`);
    await started(
      process.execPath,
      ["node_modules/vite/bin/vite.js", "preview", "--host", "127.0.0.1", "--port", String(own), "--strictPort"],
      /Local/,
      { SIYU_URL: demo.url },
    );
    page = `http://127.0.0.1:${own}`;
    browser = await chromium.launch({ executablePath: CHROMIUM, args: FLAGS });
  },
  { timeout: 300_000 },
);

after(async () => {
  await browser?.close();
  for (const child of running.toReversed())
    if (child.exitCode === null) {
      const ended = new Promise((resolve) => child.once("exit", resolve));
      child.kill("SIGTERM");
      await ended;
    }
  rmSync(home, { recursive: true, force: true });
});

test("users of a stage appear, a page at a time", { timeout: 60_000 }, async () => {
  const { tab, faults } = await opened(demo.token);
  assert.equal(await total(tab), 2469);
  await tab.locator("[data-stage=dormant]").click();
  const dormant = await inStage(tab, "dormant");
  await tab.getByText(`${dormant} 人`).waitFor();
  assert.deepEqual(new Set(await tab.locator("tr.row .badge").allInnerTexts()), new Set(["休眠"]));
  assert.match(await tab.locator("tr.row .why").first().innerText(), /^\d+ 天没有互动，满 30 天算休眠$/);
  const first = await tab.locator("tr.row").evaluateAll((rows) => rows.map((row) => (row as HTMLElement).dataset.user));
  await tab.getByRole("button", { name: "下一页" }).click();
  await tab.getByText("第 2 /").waitFor();
  await tab.waitForFunction((user) => document.querySelector("tr.row")?.getAttribute("data-user") !== user, first[0]);
  const second = await tab.locator("tr.row").evaluateAll((rows) => rows.map((row) => (row as HTMLElement).dataset.user));
  assert.equal(new Set([...first, ...second]).size, first.length + second.length, "nobody stands on two pages");
  assert.deepEqual(faults, []);
  await tab.close();
});

test("a tag narrows it down, and a row says why", { timeout: 60_000 }, async () => {
  const { tab, faults } = await opened(demo.token);
  const all = await total(tab);
  await tab.getByLabel("按标签筛选").fill("high_value");
  await tab.locator("[data-tag='rfm.high_value']").click();
  await tab.waitForFunction((text) => document.querySelector("[data-testid=total]")?.textContent !== text, `2,469 人`);
  assert.ok((await total(tab)) < all);
  for (const chips of await tab.locator("tr.row .chips").allInnerTexts()) assert.match(chips, /高价值用户/);
  await tab.locator("tr.row").first().click();
  await tab.locator("tr.reasons dd").first().waitFor();
  assert.match(await tab.locator("tr.reasons").innerText(), /共消费 [\d,.]+（超过 [\d,.]+ 算高）/);
  assert.deepEqual(faults, []);
  await tab.close();
});

test("a user leaves one list and enters another when something is recorded; else the page asks for nothing", {
  timeout: 60_000,
}, async () => {
  const { tab, faults } = await opened(demo.token);
  await tab.evaluate(() => Object.assign(window, { kept: true }));
  await tab.locator("[data-stage=dormant]").click();
  const were = await inStage(tab, "dormant");
  await tab.getByText(`${were} 人`).waitFor();
  const user = await tab.locator("tr.row").first().getAttribute("data-user");
  const next = await nextStage(user);
  const other = await opened(demo.token);
  await other.tab.locator(`[data-stage=${next}]`).click();
  const there = await inStage(other.tab, next);
  await other.tab.getByText(`${count.format(there)} 人`).waitFor();
  await quiet(tab);
  assert.equal(await other.tab.locator(`tr[data-user='${user}']`).count(), 0);
  await buy(user);
  await tab.locator(`tr[data-user='${user}']`).waitFor({ state: "detached" });
  await tab.getByText(`${were - 1} 人`).waitFor();
  assert.equal(await inStage(tab, "dormant"), were - 1);
  assert.equal(await tab.evaluate(() => (window as unknown as { kept?: boolean }).kept), true);
  await other.tab.locator(`tr.row.changed[data-user='${user}']`).waitFor();
  await other.tab.getByText(`${count.format(there + 1)} 人`).waitFor();
  assert.deepEqual([...faults, ...other.faults], []);
  await Promise.all([tab.close(), other.tab.close()]);
});

test("what changed while the connection was lost is there when it is back", { timeout: 60_000 }, async () => {
  const { tab } = await opened(demo.token);
  await tab.locator("[data-stage=dormant]").click();
  const were = await inStage(tab, "dormant");
  await tab.getByText(`${were} 人`).waitFor();
  const user = await tab.locator("tr.row").first().getAttribute("data-user");
  await quiet(tab);
  await tab.context().setOffline(true);
  sockets.get(tab)?.forEach((each) => void each.close());
  await tab.getByRole("status").filter({ hasText: "正在连接" }).waitFor();
  await buy(user);
  await tab.context().setOffline(false);
  await tab.locator(`tr[data-user='${user}']`).waitFor({ state: "detached" });
  await tab.getByText(`${were - 1} 人`).waitFor();
  await tab.close();
});

test("a refresh is followed, and shows what came of it", { timeout: 60_000 }, async () => {
  const { tab, faults } = await opened(demo.token);
  await tab.getByRole("status").filter({ hasText: "实时" }).waitFor();
  await ask('mutation { refreshBrand(brand: "demo") { queued } }');
  await tab.getByText(/已重新计算 2,469 人，\d+ 处变化/).waitFor();
  assert.deepEqual(faults, []);
  await tab.close();
});

test("a token that is none is refused with what to do", { timeout: 60_000 }, async () => {
  const tab = await browser.newPage();
  await tab.goto(page);
  await tab.getByLabel("访问令牌").fill("siyu_00000000_nothing");
  await tab.getByRole("button", { name: "进入" }).click();
  assert.match(await tab.getByRole("alert").innerText(), /a valid access token is needed/);
  await tab.close();
});

test("GraphiQL leads from what there is to ask to a list and its changes", { timeout: 60_000 }, async () => {
  const tab = await browser.newPage({ viewport: { width: 1360, height: 900 } });
  await tab.goto(`${demo.url}/graphql#token=${demo.token}`);
  const run = async (name: string) => {
    await tab.locator(".graphiql-tab-button", { hasText: name }).click();
    await tab.waitForFunction((text) => document.querySelector(".graphiql-query-editor")?.textContent?.includes(text), ` ${name}(`);
    await tab.waitForTimeout(500); // GraphiQL looks at what was written once nobody has written for a moment
    await tab.getByRole("button", { name: /execute query/i }).click();
  };
  // Long answers are in the document only as far as they are in sight.
  const answered = (text: string) =>
    tab.waitForFunction((wanted) => {
      const pane = document.querySelector(".graphiql-response .CodeMirror") as unknown as Pane | null;
      return pane?.CodeMirror.getValue().includes(`"${wanted}"`);
    }, text);
  await run("Brand");
  await answered("monetary");
  await run("Users");
  await answered("totalCount");
  await run("Changes");
  await answered("cursor");
  const found = (await ask(`{ brand(slug: "demo") { users(first: 1, filter: { stage: { track: "lifecycle", key: "dormant" } }) {
    nodes { identities { value } } } } }`)) as { brand: { users: { nodes: [{ identities: [{ value: string }] }] } } };
  const user = found.brand.users.nodes[0].identities[0].value;
  await buy(user);
  await answered(user);
  if (SHOT) await tab.screenshot({ path: SHOT.replace(".png", "-graphiql.png") });
  await run("Record");
  await answered("userErrors");
  await tab.close();
});

test("the invented brand is worth looking at", { timeout: 120_000 }, async () => {
  const token = await started(SIYU, ["seed", "--json"], /"token": "([^"]+)"/);
  const { tab, faults } = await opened(token, 980);
  assert.equal(await total(tab), 120);
  await tab.locator("[data-stage=growth]").click();
  await tab.waitForFunction(() => !document.querySelector(".badge:not(.growth)"));
  await tab.getByLabel("按标签筛选").fill("护肤");
  await tab.locator("[data-tag='interest.skincare']").click();
  await tab.waitForFunction(() => document.querySelector("[data-testid=total]")?.textContent !== "50 人");
  await tab.locator("tr.row").nth(4).click();
  await tab.mouse.move(0, 0);
  if (SHOT) await tab.screenshot({ path: SHOT });
  for (const said of await tab.locator("tr.row .why, tr.reasons dd").allInnerTexts()) assert.doesNotMatch(said, /[a-z]{3}/);
  assert.deepEqual(faults, []);
  await tab.close();
});

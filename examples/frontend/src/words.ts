/** Moments and names as people say them. */

const DAY = 86_400_000;
const relative = new Intl.RelativeTimeFormat("zh-CN", { numeric: "auto" });
const day = new Intl.DateTimeFormat("zh-CN", { year: "numeric", month: "long", day: "numeric" });
const exact = new Intl.DateTimeFormat("zh-CN", { dateStyle: "long", timeStyle: "short" });

/** How long ago, seen from the brand's `now`: a brand that is replayed does not live in the present. */
export function ago(moment: string, now: string): string {
  const past = Date.parse(now) - Date.parse(moment);
  if (past < 60_000) return "刚刚";
  if (past < 3_600_000) return relative.format(-Math.floor(past / 60_000), "minute");
  if (past < DAY) return relative.format(-Math.floor(past / 3_600_000), "hour");
  if (past < 60 * DAY) return relative.format(-Math.floor(past / DAY), "day");
  return day.format(new Date(moment));
}

export function date(moment: string): string {
  return day.format(new Date(moment));
}

export function whole(moment: string): string {
  return exact.format(new Date(moment));
}

export const count = new Intl.NumberFormat("zh-CN");

/** What the user is called: the attribute `name`, else the first name that they go by. */
export function called(user: { attributes: unknown; identities: { kind: string; value: string }[] }): string {
  const attributes = user.attributes as { name?: unknown } | null;
  if (typeof attributes?.name === "string") return attributes.name;
  const [first] = user.identities;
  return first ? `${first.kind} ${first.value}` : "未知用户";
}

// Enters: the query part of the page's address. Leaves: what the page shows; and back again. All state that is worth a
// link lives here; anything unreadable in a link falls back to its default instead of breaking the page.
import { readSelection, type Selection, writeSelection } from "../compute/selection";

export const SPANS_OF_TIME = [
  { key: "5m", label: "5 min", words: "Last 5 minutes", length_ms: 5 * 60_000 },
  { key: "20m", label: "20 min", words: "Last 20 minutes", length_ms: 20 * 60_000 },
  { key: "1h", label: "1 h", words: "Last hour", length_ms: 3_600_000 },
  { key: "3h", label: "3 h", words: "Last 3 hours", length_ms: 3 * 3_600_000 },
  { key: "6h", label: "6 h", words: "Last 6 hours", length_ms: 6 * 3_600_000 },
  { key: "12h", label: "12 h", words: "Last 12 hours", length_ms: 12 * 3_600_000 },
  { key: "1d", label: "1 d", words: "Last day", length_ms: 86_400_000 },
  { key: "2d", label: "2 d", words: "Last 2 days", length_ms: 2 * 86_400_000 },
] as const;

export type RangeKey = (typeof SPANS_OF_TIME)[number]["key"];
export type Range =
  | { kind: "last"; key: RangeKey; live: boolean }
  | { kind: "custom"; from_ms: number; to_ms: number };

export type View = "map" | "transactions" | "trace" | "agents";
export type TraceTab = "tree" | "timeline";
export type SortKey = "time" | "duration";

export interface Address {
  view: View;
  range: Range;
  /** Only what is reachable from this service; null: everything. */
  service: string | null;
  /** The selected node or edge; at most one is set; none: the page chooses the entry. */
  node: string | null;
  edge: string | null;
  mapAs: "picture" | "table";
  /** The transaction list's bounds; null: the whole range. */
  selection: Selection | null;
  name: string;
  sort: SortKey;
  order: "asc" | "desc";
  trace: string | null;
  span: string | null;
  tab: TraceTab;
}

export const START: Address = {
  view: "map",
  range: { kind: "last", key: "5m", live: true },
  service: null,
  node: null,
  edge: null,
  mapAs: "picture",
  selection: null,
  name: "",
  sort: "time",
  order: "desc",
  trace: null,
  span: null,
  tab: "tree",
};

function oneOf<T extends string>(text: string | null, allowed: readonly T[], otherwise: T): T {
  return allowed.find((value) => value === text) ?? otherwise;
}

function readRange(query: URLSearchParams): Range {
  const from_ms = Number(query.get("from") ?? Number.NaN);
  const to_ms = Number(query.get("to") ?? Number.NaN);
  if (Number.isFinite(from_ms) && Number.isFinite(to_ms) && from_ms < to_ms) {
    return { kind: "custom", from_ms, to_ms };
  }
  const span = SPANS_OF_TIME.find((candidate) => candidate.key === query.get("range"));
  return span === undefined ? START.range : { kind: "last", key: span.key, live: query.get("live") === "1" };
}

export function readAddress(search: string): Address {
  const query = new URLSearchParams(search);
  const edge = query.get("edge") || null;
  const trace = query.get("trace")?.toLowerCase() ?? "";
  return {
    view: oneOf(query.get("view"), ["map", "transactions", "trace", "agents"], START.view),
    range: readRange(query),
    service: query.get("service") || null,
    node: edge === null ? query.get("node") || null : null,
    edge,
    mapAs: oneOf(query.get("map"), ["picture", "table"], START.mapAs),
    selection: readSelection(query.get("select")),
    name: query.get("name") ?? "",
    sort: oneOf(query.get("sort"), ["time", "duration"], START.sort),
    order: oneOf(query.get("order"), ["asc", "desc"], START.order),
    trace: /^[0-9a-f]{1,32}$/.test(trace) ? trace : null,
    span: query.get("span") || null,
    tab: oneOf(query.get("tab"), ["tree", "timeline"], START.tab),
  };
}

/** `?…`, defaults left out, so that links stay short. */
export function writeAddress(address: Address): string {
  const query = new URLSearchParams();
  const put = (name: string, value: string | null, silent: string | null = null) => {
    if (value !== null && value !== "" && value !== silent) query.set(name, value);
  };
  put("view", address.view, START.view);
  if (address.range.kind === "custom") {
    put("from", String(address.range.from_ms));
    put("to", String(address.range.to_ms));
  } else {
    put("range", address.range.key);
    put("live", address.range.live ? "1" : null);
  }
  put("service", address.service);
  put("node", address.node);
  put("edge", address.edge);
  put("map", address.mapAs, START.mapAs);
  put("select", address.selection === null ? null : writeSelection(address.selection));
  put("name", address.name);
  put("sort", address.sort, START.sort);
  put("order", address.order, START.order);
  put("trace", address.trace);
  put("span", address.span);
  put("tab", address.tab, START.tab);
  return `?${query.toString()}`;
}

const KIND_PREFIX = /^(user|service|database|cache|queue|external):/;

/** The picked service is a bare name in links, or the node's id where it is none of the services (a watched database). */
export function serviceOfNode(nodeId: string): string {
  return nodeId.startsWith("service:") ? nodeId.slice("service:".length) : nodeId;
}

export function nodeOfService(service: string): string {
  return KIND_PREFIX.test(service) ? service : `service:${service}`;
}

/** What a picked service is called. */
export function serviceName(service: string): string {
  return service.replace(KIND_PREFIX, "");
}

/** From and to in whole milliseconds; `now_ms` is the end of a range that ends now. */
export function resolveRange(range: Range, now_ms: number): { from_ms: number; to_ms: number } {
  if (range.kind === "custom") return { from_ms: range.from_ms, to_ms: range.to_ms };
  const length_ms = SPANS_OF_TIME.find((span) => span.key === range.key)?.length_ms ?? 300_000;
  return { from_ms: now_ms - length_ms, to_ms: now_ms };
}

/** How often a live range is asked for again: long ranges change little and cost more. */
export function refreshEvery_ms(range: Range): number | null {
  if (range.kind === "custom" || !range.live) return null;
  const { from_ms, to_ms } = resolveRange(range, 0);
  const length_ms = to_ms - from_ms;
  if (length_ms <= 300_000) return 5_000;
  if (length_ms <= 3_600_000) return 10_000;
  return length_ms <= 6 * 3_600_000 ? 30_000 : 60_000;
}

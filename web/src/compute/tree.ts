// Enters: a trace's spans in call-tree order (depth first). Leaves: which of them have children, which rows are visible
// when some are folded, and the figures of a trace's head. Nothing here recurses, so depth is bounded by the answer alone.
import type { Span } from "../api/types";

export interface TreeRow {
  span: Span;
  /** Position in the API's order. */
  index: number;
  hasChildren: boolean;
  folded: boolean;
}

/** The rows to show: a folded span hides everything deeper that follows it. */
export function visibleRows(spans: Span[], folded: ReadonlySet<string>): TreeRow[] {
  const rows: TreeRow[] = [];
  let hiddenBelow = Number.POSITIVE_INFINITY;
  spans.forEach((span, index) => {
    if (span.depth > hiddenBelow) return;
    hiddenBelow = Number.POSITIVE_INFINITY;
    const hasChildren = (spans[index + 1]?.depth ?? -1) > span.depth;
    const isFolded = hasChildren && folded.has(span.span_id);
    if (isFolded) hiddenBelow = span.depth;
    rows.push({ span, index, hasChildren, folded: isFolded });
  });
  return rows;
}

/** The spans on the way from the root to this one, this one left out. */
export function ancestors(spans: Span[], spanId: string): Span[] {
  const at = spans.findIndex((span) => span.span_id === spanId);
  const path: Span[] = [];
  let depth = spans[at]?.depth ?? 0;
  for (let index = at - 1; index >= 0 && depth > 0; index -= 1) {
    const span = spans[index];
    if (span !== undefined && span.depth < depth) {
      path.unshift(span);
      depth = span.depth;
    }
  }
  return path;
}

export interface LinkCounts {
  exact: number;
  inferred: number;
  /** Below the root, yet without a parent anyone could name. */
  none: number;
  errors: number;
}

export function linkCounts(spans: Span[]): LinkCounts {
  const counts = { exact: 0, inferred: 0, none: 0, errors: 0 };
  spans.forEach((span, index) => {
    if (span.error) counts.errors += 1;
    if (index > 0 || span.parent_span_id !== null) counts[span.link.confidence] += 1;
  });
  return counts;
}

/** How a span is called in the tree: its name, else what it did to what. */
export function spanTitle(span: Pick<Span, "name" | "operation" | "target">): string {
  if (span.name !== "") return span.name;
  return [span.operation, span.target].filter((part) => part !== "").join(" ");
}

/** What the span was aimed at, without what its name already says. */
export function spanDetail(span: Pick<Span, "name" | "operation" | "target">): string {
  const title = spanTitle(span);
  if (span.target.startsWith(`${title} `)) return span.target.slice(title.length + 1);
  return span.target !== "" && !title.includes(span.target) ? span.target : "";
}

/** Whether the span is the called side, where another service's work begins. */
export function isEntry(span: Pick<Span, "kind">): boolean {
  return span.kind === "server" || span.kind === "consumer";
}

/** Why it failed or stayed without an answer, in the protocol's or the agent's words; empty when neither. */
export function problemOf(
  span: Pick<Span, "error" | "error_message" | "unanswered" | "status_text">,
): string {
  if (span.unanswered) return `no response: ${span.unanswered.replaceAll("_", " ")}`;
  if (!span.error) return "";
  return span.error_message || span.status_text || "failed";
}

/** A bar on the timeline, 0..1 of the trace's length; at least `least` long so that it is seen. */
export function timelineBar(
  span: Span,
  duration_ms: number,
  least = 0.002,
): { start: number; length: number } {
  if (duration_ms <= 0) return { start: 0, length: 1 };
  const start = Math.min(Math.max(span.offset_ms / duration_ms, 0), 1);
  const length = Math.min(Math.max(span.duration_ms / duration_ms, least), 1);
  return { start: Math.min(start, 1 - least), length: Math.min(length, 1 - Math.min(start, 1 - least)) };
}

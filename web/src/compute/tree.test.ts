import { describe, expect, test } from "vitest";
import { spanOf } from "./samples";
import { ancestors, linkCounts, problemOf, spanDetail, spanTitle, timelineBar, visibleRows } from "./tree";

const spans = [
  spanOf("root", 0),
  spanOf("web", 1),
  spanOf("db", 2),
  spanOf("cache", 2),
  spanOf("mail", 1),
  spanOf("orphan", 0),
];
const ids = (folded: string[]) => visibleRows(spans, new Set(folded)).map((row) => row.span.span_id);

describe("call tree", () => {
  test("a folded span hides what is below it and nothing else", () => {
    expect(ids([])).toEqual(["root", "web", "db", "cache", "mail", "orphan"]);
    expect(ids(["web"])).toEqual(["root", "web", "mail", "orphan"]);
    expect(ids(["root"])).toEqual(["root", "orphan"]);
    expect(ids(["root", "web"])).toEqual(["root", "orphan"]);
    expect(ids(["db"])).toEqual(ids([]));
  });

  test("rows know whether they have children and where they stood", () => {
    const rows = visibleRows(spans, new Set(["web"]));
    expect(rows.map((row) => [row.hasChildren, row.folded, row.index])).toEqual([
      [true, false, 0],
      [true, true, 1],
      [false, false, 4],
      [false, false, 5],
    ]);
  });

  test("a chain of a hundred thousand spans needs no stack", () => {
    const chain = Array.from({ length: 100_000 }, (_, depth) => spanOf(String(depth), depth));
    expect(visibleRows(chain, new Set())).toHaveLength(100_000);
    expect(visibleRows(chain, new Set(["1"]))).toHaveLength(2);
  });

  test("ancestors lead from the root to the parent", () => {
    expect(ancestors(spans, "cache").map((span) => span.span_id)).toEqual(["root", "web"]);
    expect(ancestors(spans, "orphan")).toEqual([]);
    expect(ancestors(spans, "gone")).toEqual([]);
  });

  test("the root needs no link; an orphan below it is counted as without one", () => {
    const none = { method: "none", confidence: "none", probability: null } as const;
    const counts = linkCounts([
      spanOf("root", 0, { link: none }),
      spanOf("a", 1, { error: true }),
      spanOf("b", 1, { link: { method: "inference", confidence: "inferred", probability: 0.8 } }),
      spanOf("lost", 0, { link: none }),
    ]);
    expect(counts).toEqual({ exact: 1, inferred: 1, none: 1, errors: 1 });
  });

  test("the title says what was called, the detail what the title leaves out", () => {
    const statement = { name: "SELECT orders", operation: "SELECT", target: "SELECT * FROM orders" };
    expect([spanTitle(statement), spanDetail(statement)]).toEqual(["SELECT orders", "SELECT * FROM orders"]);
    const command = { name: "GET", operation: "GET", target: "GET session:?" };
    expect([spanTitle(command), spanDetail(command)]).toEqual(["GET", "session:?"]);
    const nameless = { name: "", operation: "GET", target: "/x" };
    expect([spanTitle(nameless), spanDetail(nameless)]).toEqual(["GET /x", ""]);
  });

  test("a failed span says why, one without an answer that it has none, a good one nothing", () => {
    expect(problemOf(spanOf("a", 0))).toBe("");
    expect(problemOf(spanOf("a", 0, { error: true, status_text: "503" }))).toBe("503");
    expect(problemOf(spanOf("a", 0, { error: true, error_message: "lock timeout" }))).toBe("lock timeout");
    expect(problemOf(spanOf("a", 0, { unanswered: "connection_closed" }))).toBe(
      "no response: connection closed",
    );
  });

  test("bars stay inside the trace, whatever the clocks said", () => {
    expect(timelineBar(spanOf("a", 0, { offset_ms: 50, duration_ms: 25 }), 100)).toEqual({
      start: 0.5,
      length: 0.25,
    });
    for (const part of [
      { offset_ms: -20, duration_ms: 10 },
      { offset_ms: 250, duration_ms: 10 },
      { offset_ms: 90, duration_ms: 400 },
      { offset_ms: 0, duration_ms: 0 },
    ]) {
      const { start, length } = timelineBar(spanOf("a", 0, part), 100);
      expect(start).toBeGreaterThanOrEqual(0);
      expect(length).toBeGreaterThan(0);
      expect(start + length).toBeLessThanOrEqual(1 + 1e-9);
    }
    expect(timelineBar(spanOf("a", 0), 0)).toEqual({ start: 0, length: 1 });
  });
});

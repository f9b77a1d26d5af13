import { describe, expect, test } from "vitest";
import type { MapNode, ServerMap } from "../api/types";
import { summaryOf } from "../compute/samples";
import { shorten } from "./map-node";
import { defaultNode } from "./map-view";
import { fitting, starting } from "./use-zoom";

const node = (id: string, count: number): MapNode => ({
  id,
  kind: id.startsWith("user") ? "user" : "service",
  name: id.split(":")[1] ?? "",
  system: "",
  watched: true,
  instances: [],
  summary: summaryOf({ fast: count }),
});
const edge = (source: string, target: string, count: number) => ({
  id: `${source}->${target}`,
  source,
  target,
  count,
  error_count: 0,
  summary: summaryOf({ fast: count }),
  links: { exact: count, inferred: 0 },
});
const map: ServerMap = {
  from_ms: 0,
  to_ms: 1,
  edges_left_out: 0,
  thresholds: { fast_ms: 1000, normal_ms: 3000, slow_ms: 5000 },
  service_thresholds: {},
  nodes: [
    node("user:outside", 12),
    node("service:busy", 99),
    node("service:front", 9),
    node("service:side", 3),
  ],
  edges: [
    edge("user:outside", "service:side", 3),
    edge("user:outside", "service:front", 9),
    edge("service:front", "service:busy", 99),
  ],
};

describe("what is selected when nothing is asked for", () => {
  test("where most requests come in", () => expect(defaultNode(map, null)?.id).toBe("service:front"));
  test("the picked service", () => expect(defaultNode(map, "busy")?.id).toBe("service:busy"));
  test("without callers from outside the busiest service", () =>
    expect(defaultNode({ ...map, edges: map.edges.slice(2) }, null)?.id).toBe("service:busy"));
  test("nothing on an empty map", () =>
    expect(defaultNode({ ...map, nodes: [], edges: [] }, null)).toBeNull());
});

test("a long name keeps both its ends", () => {
  expect(shorten("short", 19)).toBe("short");
  const text = shorten("recommendation-service-canary", 19);
  expect(text).toHaveLength(19);
  expect(text).toMatch(/^recomm.*….*canary$/);
});

test("a drawing is fitted into the middle and never blown up", () => {
  const view = { width: 800, height: 600 };
  const small = fitting(view, { width: 100, height: 100 });
  expect(small.k).toBe(1.15);
  const large = fitting(view, { width: 4000, height: 500 });
  expect(large.k * 4000).toBeLessThanOrEqual(800);
  expect(large.x).toBeCloseTo((800 - 4000 * large.k) / 2);
  expect(fitting({ width: 0, height: 0 }, view)).toEqual({ k: 1, x: 0, y: 0 });
});

test("a map too large to read starts readable around what is selected, inside its own bounds", () => {
  const view = { width: 375, height: 380 };
  const drawing = { width: 1200, height: 500 };
  const first = starting(view, drawing, { x: 60, y: 250 });
  expect([first.k, first.x]).toEqual([0.68, 12]);
  const last = starting(view, drawing, { x: 1150, y: 250 });
  expect(last.x + drawing.width * last.k).toBeCloseTo(view.width - 12);
  expect(starting(view, drawing, null)).toEqual(fitting(view, drawing));
  expect(starting({ width: 900, height: 700 }, drawing, { x: 0, y: 0 })).toEqual(
    fitting({ width: 900, height: 700 }, drawing),
  );
  expect(starting({ width: 900, height: 700 }, { width: 900, height: 6000 }, { x: 450, y: 3000 }).k).toBe(
    0.68,
  );
});

import { expect, test } from "vitest";
import type { Agent, Agents } from "../api/types";
import { nonzero, totalLost } from "./losses";

test("only what is not zero, largest first", () => {
  expect(nonzero({ b: 1, a: 0, d: 1, c: 9 })).toEqual([
    { reason: "c", count: 9 },
    { reason: "b", count: 1 },
    { reason: "d", count: 1 },
  ]);
});

test("all agents and the collector count", () => {
  const agent = (losses: Record<string, number>) => ({ losses }) as Agent;
  const collector = {
    losses: { late: 4 },
    counters: { let_go: 8 },
    spans_stored: 0,
    segments: 0,
    store_bytes: 0,
    buffered_spans: 0,
  };
  const answer: Agents = { agents: [agent({ full: 2 }), agent({ full: 0, gap: 1 })], collector };
  expect(totalLost(answer)).toBe(7);
});

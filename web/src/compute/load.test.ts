import { describe, expect, test } from "vitest";
import { loadBars } from "./load";
import { summaryOf } from "./samples";

const step_ms = 60_000;

describe("load", () => {
  test("a minute without calls is an empty bar, not a missing one", () => {
    const points = [
      { time_ms: 0, summary: summaryOf({ fast: 2 }) },
      { time_ms: 120_000, summary: summaryOf({ fast: 1, error: 1 }) },
    ];
    const bars = loadBars({ step_ms, points }, 0, 180_000, 50);
    expect(bars.map((bar) => bar.total)).toEqual([2, 0, 2]);
    expect(bars[2]?.classes.error).toBe(1);
  });

  test("too many steps are added up, none is lost", () => {
    const points = Array.from({ length: 120 }, (_, index) => ({
      time_ms: index * step_ms,
      summary: summaryOf({ fast: 1 }),
    }));
    const bars = loadBars({ step_ms, points }, 0, 120 * step_ms, 30);
    expect(bars.length).toBeLessThanOrEqual(30);
    expect(bars.reduce((sum, bar) => sum + bar.total, 0)).toBe(120);
  });

  test("a range inside a step still gets the step's bar", () => {
    const bars = loadBars(
      { step_ms, points: [{ time_ms: 0, summary: summaryOf({ slow: 5 }) }] },
      10_000,
      50_000,
      20,
    );
    expect(bars).toHaveLength(1);
    expect(bars[0]?.total).toBe(5);
  });

  test("nonsense gives no bars", () => {
    expect(loadBars({ step_ms: 0, points: [] }, 0, 1000, 10)).toEqual([]);
    expect(loadBars({ step_ms, points: [] }, 1000, 1000, 10)).toEqual([]);
  });
});

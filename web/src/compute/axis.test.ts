import { describe, expect, test } from "vitest";
import { automaticTop, durationAxis, elapsedTicks, niceTop, timeAxis } from "./axis";
import { pointOf } from "./samples";

describe("axes", () => {
  test("time and pixels convert both ways", () => {
    const axis = timeAxis(1_000_000, 1_300_000, 600);
    expect(axis.toPixel(1_000_000)).toBe(0);
    expect(axis.toPixel(1_300_000)).toBe(600);
    expect(axis.fromPixel(axis.toPixel(1_123_456))).toBeCloseTo(1_123_456, -1);
    expect(axis.ticks.every((tick) => tick.at >= 0 && tick.at <= 600)).toBe(true);
  });

  test.each(["linear", "log"] as const)("durations rise from bottom to top, %s", (kind) => {
    const axis = durationAxis(10_000, 200, kind);
    expect(axis.toPixel(0)).toBeCloseTo(200);
    expect(axis.toPixel(10_000)).toBeCloseTo(0);
    expect(axis.toPixel(5000)).toBeLessThan(axis.toPixel(50));
    expect(axis.fromPixel(axis.toPixel(321))).toBeCloseTo(321, 3);
    expect(axis.ticks.length).toBeGreaterThan(2);
  });

  test("the top is a nice number that fits", () => {
    expect([0.3, 1, 1.1, 3, 7, 5000, 5001].map(niceTop)).toEqual([0.5, 1, 2, 5, 10, 5000, 10_000]);
    expect(niceTop(0)).toBe(10);
    expect(niceTop(Number.NaN)).toBe(10);
  });

  test("an automatic axis shows everything, unless a few outliers would press the rest flat", () => {
    expect(automaticTop([])).toBe(1000);
    expect(automaticTop([pointOf(0, 40), pointOf(0, 180)])).toBe(200);
    const calm = Array.from({ length: 1000 }, (_, index) => pointOf(index, 10));
    expect(automaticTop([...calm, pointOf(0, 90)])).toBe(100);
    expect(automaticTop([...calm, pointOf(0, 60_000)])).toBe(20);
  });

  test("a trace's ticks start at zero and stay inside", () => {
    const ticks = elapsedTicks(830, 700);
    expect(ticks[0]).toEqual({ at: 0, label: "0 ms" });
    expect(ticks.every((tick) => tick.at <= 1)).toBe(true);
    expect(elapsedTicks(0, 100).length).toBeGreaterThan(0);
  });
});

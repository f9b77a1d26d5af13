import { expect, test } from "vitest";
import { sliceRows } from "./rows";

test("drawn and left out always add up to all rows", () => {
  for (const top of [0, 100, 5000, 27_900, 99_999]) {
    const { first, end, above_px, below_px } = sliceRows(top, 600, 28, 1000);
    expect(above_px + (end - first) * 28 + below_px).toBe(28_000);
    expect(end - first).toBeLessThan(60);
  }
});

test("what is on the screen is drawn", () => {
  const { first, end } = sliceRows(2800, 280, 28, 1000);
  expect(first).toBeLessThanOrEqual(100);
  expect(end).toBeGreaterThanOrEqual(110);
});

import { describe, expect, test } from "vitest";
import {
  addClasses,
  classLabels,
  classShares,
  classWords,
  errorShare,
  ringPieces,
  thresholdsOf,
} from "./classes";
import { summaryOf } from "./samples";

describe("classes", () => {
  test("shares keep the fixed order and add up to one", () => {
    const shares = classShares(summaryOf({ fast: 6, error: 2, slow: 2 }));
    expect(shares.map((piece) => [piece.name, piece.count, piece.share])).toEqual([
      ["fast", 6, 0.6],
      ["normal", 0, 0],
      ["slow", 2, 0.2],
      ["very_slow", 0, 0],
      ["error", 2, 0.2],
    ]);
    expect(classShares(summaryOf({})).every((piece) => piece.share === 0)).toBe(true);
  });

  test("are named by the bounds that hold for the service", () => {
    const usual = { fast_ms: 1000, normal_ms: 3000, slow_ms: 5000 };
    const quick = { fast_ms: 50, normal_ms: 200, slow_ms: 1000 };
    const map = { thresholds: usual, service_thresholds: { search: quick } };
    expect(Object.values(classLabels(thresholdsOf(map, "service:shop")))).toEqual([
      "1 s",
      "3 s",
      "5 s",
      "Slow",
      "Error",
    ]);
    expect(classLabels(thresholdsOf(map, "service:search")).fast).toBe("50 ms");
    expect(classWords(thresholdsOf(map, "database:search")).normal).toBe("1 s to 3 s");
  });

  test("one failure among a million still has its piece of the ring, and the ring stays whole", () => {
    const pieces = ringPieces(summaryOf({ fast: 999_999, error: 1 }), 0.02);
    expect(pieces.map((piece) => piece.name)).toEqual(["fast", "error"]);
    expect(pieces[1]?.length).toBeCloseTo(0.02);
    expect(pieces.reduce((sum, piece) => sum + piece.length, 0)).toBeCloseTo(1);
    expect(pieces[1]?.start).toBeCloseTo(pieces[0]?.length ?? 0);
  });

  test("a ring of nothing has no pieces, of one class one whole piece", () => {
    expect(ringPieces(summaryOf({}))).toEqual([]);
    expect(ringPieces(summaryOf({ slow: 3 }))).toEqual([{ name: "slow", start: 0, length: 1 }]);
  });

  test("steps are added class by class", () => {
    const sum = addClasses([summaryOf({ fast: 2, error: 1 }), summaryOf({ fast: 3, very_slow: 4 })]);
    expect(sum).toEqual({ fast: 5, normal: 0, slow: 0, very_slow: 4, error: 1 });
  });

  test("no calls, no failed share", () => {
    expect(errorShare(0, 0)).toBe(0);
    expect(errorShare(8, 2)).toBe(0.25);
  });
});

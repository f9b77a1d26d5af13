import { describe, expect, test } from "vitest";
import { pointOf } from "./samples";
import { isSelected, readSelection, type Selection, selectionFromCorners, writeSelection } from "./selection";

const box: Selection = { from_ms: 1000, to_ms: 2000, min_duration_ms: 10, max_duration_ms: 20, status: null };

describe("selection", () => {
  test("the start is inside, the end is not; durations count at both ends", () => {
    expect(isSelected(pointOf(1000, 10), box)).toBe(true);
    expect(isSelected(pointOf(1999.9, 20), box)).toBe(true);
    expect(isSelected(pointOf(2000, 15), box)).toBe(false);
    expect(isSelected(pointOf(999.9, 15), box)).toBe(false);
    expect(isSelected(pointOf(1500, 9.99), box)).toBe(false);
    expect(isSelected(pointOf(1500, 20.01), box)).toBe(false);
    expect(isSelected(pointOf(1500, 1e9), { ...box, max_duration_ms: null })).toBe(true);
  });

  test("the outcome narrows it", () => {
    expect(isSelected(pointOf(1500, 15, 1), { ...box, status: "ok" })).toBe(false);
    expect(isSelected(pointOf(1500, 15, 1), { ...box, status: "error" })).toBe(true);
  });

  test("any two opposite corners give the same box, and both corners lie in it", () => {
    const a = { time_ms: 1000.4, duration_ms: 90.12345 };
    const b = { time_ms: 2000.6, duration_ms: 12.5 };
    const one = selectionFromCorners(a, b, 1000, null);
    expect(selectionFromCorners(b, a, 1000, null)).toEqual(one);
    expect(one).toEqual({
      from_ms: 1000,
      to_ms: 2001,
      min_duration_ms: 12.5,
      max_duration_ms: 90.123,
      status: null,
    });
  });

  test("a box up to the chart's top has no upper bound, one below the bottom starts at zero", () => {
    const selection = selectionFromCorners(
      { time_ms: 5, duration_ms: -3 },
      { time_ms: 9, duration_ms: 1000 },
      1000,
      "error",
    );
    expect(selection.max_duration_ms).toBeNull();
    expect(selection.min_duration_ms).toBe(0);
    expect(selection.status).toBe("error");
  });

  test("a written selection is read back", () => {
    const open: Selection = { ...box, max_duration_ms: null, status: "error" };
    expect(readSelection(writeSelection(box))).toEqual(box);
    expect(readSelection(writeSelection(open))).toEqual(open);
  });

  test.each([null, "", "1,2,3", "a,b,c,d,", "2000,1000,0,,", ",2000,0,,", "1000,2000,0,,maybe"])(
    "%s is no selection",
    (text) => expect(readSelection(text)).toBeNull(),
  );
});

import { describe, expect, test } from "vitest";
import {
  formatAge,
  formatBytes,
  formatCompact,
  formatDuration,
  formatMs,
  formatPerMinute,
  formatRange,
  formatShare,
  formatTime,
  fromInputTime,
  toInputTime,
} from "./format";

describe("format", () => {
  test.each([
    [0, "0"],
    [999, "999"],
    [999.9, "1k"],
    [1000, "1k"],
    [1234, "1.23k"],
    [99_960, "100k"],
    [999_500, "1M"],
    [12_345_678, "12.3M"],
    [3.55, "3.55"],
  ])("compact %f is %s", (count, text) => expect(formatCompact(count)).toBe(text));

  test.each([
    [0, "0 ms"],
    [0.042, "0.042 ms"],
    [4.2134, "4.21 ms"],
    [123.4, "123 ms"],
    [999.4, "999 ms"],
    [999.6, "1 s"],
    [1234, "1.23 s"],
    [59_994, "60 s"],
    [125_000, "2 m 05 s"],
    [-3, "-3 ms"],
    [-125_000, "-2 m 05 s"],
    [null, "–"],
    [Number.NaN, "–"],
  ])("duration %s is %s", (duration, text) => expect(formatDuration(duration)).toBe(text));

  test.each([
    [0, "0.00"],
    [0.0421, "0.042"],
    [1.234, "1.23"],
    [12.34, "12.3"],
    [1234.5, "1,235"],
    [undefined, "–"],
  ])("bare milliseconds %s are %s", (duration, text) => expect(formatMs(duration)).toBe(text));

  test("a share never rounds something to nothing or almost all to all", () => {
    expect([0, 0.0001, 0.034, 0.42, 0.9995, 1].map(formatShare)).toEqual([
      "0%",
      "<0.1%",
      "3.4%",
      "42%",
      ">99.9%",
      "100%",
    ]);
    expect(formatShare(0.996)).toBe("99.6%");
  });

  test("rates, bytes and ages name their unit", () => {
    expect(formatPerMinute(100, 300_000)).toBe("20/min");
    expect(formatPerMinute(1, 0)).toBe("–");
    expect([formatBytes(512), formatBytes(2048), formatBytes(31_400_000), formatBytes(null)]).toEqual([
      "512 B",
      "2 KiB",
      "29.9 MiB",
      "–",
    ]);
    expect([formatAge(900), formatAge(42_000), formatAge(720_000), formatAge(9e6)]).toEqual([
      "just now",
      "42 s",
      "12 min",
      "2 h",
    ]);
  });

  test("a range names both days only when they differ", () => {
    const noon = new Date(2026, 10, 22, 12, 0, 0).getTime();
    expect(formatRange(noon, noon + 300_000)).toBe("2026-11-22 12:00:00 – 12:05:00");
    expect(formatRange(noon, noon + 86_400_000)).toBe("2026-11-22 12:00:00 – 2026-11-23 12:00:00");
    expect(formatTime(noon + 7)).toBe("12:00:00.007");
  });

  test("what an input shows is what it gives back", () => {
    const time = new Date(2026, 2, 9, 4, 5, 6).getTime();
    expect(fromInputTime(toInputTime(time))).toBe(time);
    expect(fromInputTime("")).toBeNull();
    expect(fromInputTime("soon")).toBeNull();
  });
});

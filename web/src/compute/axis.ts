// Enters: ranges of time and duration and a size in pixels. Leaves: scales and the ticks of their axes.
import { scaleLinear, scaleSymlog, scaleTime } from "d3-scale";
import type { ScatterPoint } from "../api/types";
import { formatClock, formatDuration, formatTime } from "./format";

export interface Tick {
  at: number;
  label: string;
}

export interface Axis {
  toPixel: (value: number) => number;
  fromPixel: (pixel: number) => number;
  ticks: Tick[];
}

/** Local time, from left to right. */
export function timeAxis(from_ms: number, to_ms: number, width: number): Axis {
  const scale = scaleTime().domain([from_ms, to_ms]).range([0, width]);
  const seconds = to_ms - from_ms < 4 * 60_000;
  const ticks = scale.ticks(Math.max(2, Math.floor(width / (seconds ? 90 : 70)))).map((time) => ({
    at: scale(time),
    label: timeLabel(time, to_ms - from_ms, seconds),
  }));
  // A label that would stand out over the right end is left out; its line has neighbours enough.
  const last = ticks.at(-1);
  if (last !== undefined && last.at > width - 14) last.label = "";
  return { toPixel: (value) => scale(value), fromPixel: (pixel) => scale.invert(pixel).getTime(), ticks };
}

function timeLabel(time: Date, range_ms: number, seconds: boolean): string {
  if (seconds) return formatTime(time.getTime(), false);
  const midnight = time.getHours() === 0 && time.getMinutes() === 0;
  if (midnight && range_ms > 3_600_000)
    return time.toLocaleDateString("en-GB", { day: "numeric", month: "short" });
  return formatClock(time.getTime());
}

export type DurationScale = "linear" | "log";

/** Durations from bottom (0) to top. The logarithm is symmetric around 0 so that 0 ms has a place. */
export function durationAxis(top_ms: number, height: number, kind: DurationScale): Axis {
  if (kind === "linear") {
    const scale = scaleLinear().domain([0, top_ms]).range([height, 0]);
    const ticks = scale.ticks(Math.max(2, Math.floor(height / 42)));
    return {
      toPixel: (value) => scale(value),
      fromPixel: (pixel) => scale.invert(pixel),
      ticks: ticks.map((value) => ({ at: scale(value), label: formatDuration(value) })),
    };
  }
  const scale = scaleSymlog().constant(1).domain([0, top_ms]).range([height, 0]);
  const powers = [0];
  for (let value = 1; value <= top_ms * 1.0001; value *= 10) powers.push(value);
  return {
    toPixel: (value) => scale(value),
    fromPixel: (pixel) => scale.invert(pixel),
    ticks: powers.map((value) => ({ at: scale(value), label: formatDuration(value) })),
  };
}

/** Ticks of a trace's own time, from 0 at the left; `at` is 0..1. */
export function elapsedTicks(length_ms: number, width: number): Tick[] {
  const scale = scaleLinear()
    .domain([0, Math.max(length_ms, 0.001)])
    .range([0, 1]);
  const ticks = scale.ticks(Math.max(2, Math.floor(width / 90)));
  return ticks.map((value) => ({ at: scale(value), label: formatDuration(value) }));
}

/** Nice tops of a duration axis: 1, 2, 5 and their tenfolds. */
export function niceTop(value_ms: number): number {
  if (!Number.isFinite(value_ms) || value_ms <= 0) return 10;
  const power = 10 ** Math.floor(Math.log10(value_ms));
  for (const step of [1, 2, 5, 10]) if (value_ms <= step * power * 1.000001) return step * power;
  return 10 * power;
}

/**
 * The top of an automatic axis: everything fits, unless a few outliers would press the rest flat; then those above are
 * drawn at the edge and counted in words.
 */
export function automaticTop(points: ScatterPoint[]): number {
  if (points.length === 0) return 1000;
  const durations = points.map((point) => point[1]).sort((a, b) => a - b);
  const largest = durations.at(-1) ?? 0;
  const high = durations[Math.floor((durations.length - 1) * 0.995)] ?? largest;
  return niceTop(largest > 10 * high ? high * 1.5 : largest * 1.02);
}

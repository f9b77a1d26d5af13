// Enters: a rectangle dragged in the scatter, or numbers typed. Leaves: the bounds to ask the API for, and whether a point
// lies inside them, decided as the API decides: from (inclusive) to (exclusive), durations inclusive at both ends.
import type { ScatterPoint } from "../api/types";

export interface Selection {
  from_ms: number;
  to_ms: number;
  min_duration_ms: number;
  /** null: no upper bound. */
  max_duration_ms: number | null;
  /** null: both. */
  status: "ok" | "error" | null;
}

export function isSelected(point: ScatterPoint, selection: Selection): boolean {
  const [time_ms, duration_ms, error] = point;
  return (
    time_ms >= selection.from_ms &&
    time_ms < selection.to_ms &&
    duration_ms >= selection.min_duration_ms &&
    (selection.max_duration_ms === null || duration_ms <= selection.max_duration_ms) &&
    (selection.status === null || (selection.status === "error") === (error === 1))
  );
}

export interface Corner {
  time_ms: number;
  duration_ms: number;
}

/** Whole milliseconds of time and microseconds of duration; an upper edge at or over the chart's top is open. */
export function selectionFromCorners(
  a: Corner,
  b: Corner,
  top_ms: number,
  status: Selection["status"],
): Selection {
  const upper = Math.max(a.duration_ms, b.duration_ms);
  return {
    from_ms: Math.floor(Math.min(a.time_ms, b.time_ms)),
    to_ms: Math.floor(Math.max(a.time_ms, b.time_ms)) + 1,
    min_duration_ms: Math.max(0, roundMicro(Math.min(a.duration_ms, b.duration_ms))),
    max_duration_ms: upper >= top_ms ? null : roundMicro(upper),
    status,
  };
}

function roundMicro(duration_ms: number): number {
  return Math.round(duration_ms * 1000) / 1000;
}

/** `from,to,min,max,status` for the address; empty parts mean no bound. */
export function writeSelection(selection: Selection): string {
  return [
    selection.from_ms,
    selection.to_ms,
    selection.min_duration_ms,
    selection.max_duration_ms ?? "",
    selection.status ?? "",
  ].join(",");
}

/** Back from the address; null when it is not one. */
export function readSelection(text: string | null): Selection | null {
  if (text === null) return null;
  const parts = text.split(",");
  if (parts.length !== 5) return null;
  const [from_ms, to_ms, min, max] = parts.map((part) => (part === "" ? Number.NaN : Number(part)));
  const status = parts[4];
  if (from_ms === undefined || to_ms === undefined || !Number.isFinite(from_ms) || !Number.isFinite(to_ms))
    return null;
  if (from_ms >= to_ms || (status !== "" && status !== "ok" && status !== "error")) return null;
  return {
    from_ms,
    to_ms,
    min_duration_ms: min !== undefined && Number.isFinite(min) ? min : 0,
    max_duration_ms: max !== undefined && Number.isFinite(max) ? max : null,
    status: status === "" || status === undefined ? null : status,
  };
}

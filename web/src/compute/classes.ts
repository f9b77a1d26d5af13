// Enters: a response summary. Leaves: Pinpoint's five classes with their names, counts and shares, in one fixed order.
import type { ServerMap, Summary, Thresholds } from "../api/types";
import { formatDuration } from "./format";

export const CLASSES = ["fast", "normal", "slow", "very_slow", "error"] as const;
export type ResponseClass = (typeof CLASSES)[number];

/** Short names for axes: `1 s`, `3 s`, `5 s`, `Slow`, `Error`. */
export function classLabels(bounds: Thresholds): Record<ResponseClass, string> {
  return {
    fast: formatDuration(bounds.fast_ms),
    normal: formatDuration(bounds.normal_ms),
    slow: formatDuration(bounds.slow_ms),
    very_slow: "Slow",
    error: "Error",
  };
}

/** What the short names mean. */
export function classWords(bounds: Thresholds): Record<ResponseClass, string> {
  const labels = classLabels(bounds);
  return {
    fast: `up to ${labels.fast}`,
    normal: `${labels.fast} to ${labels.normal}`,
    slow: `${labels.normal} to ${labels.slow}`,
    very_slow: `over ${labels.slow}`,
    error: "failed",
  };
}

/** The bounds that hold for a node's requests, or for the calls a node makes: those of its service. */
export function thresholdsOf(
  map: Pick<ServerMap, "thresholds" | "service_thresholds">,
  nodeId: string,
): Thresholds {
  const service = nodeId.startsWith("service:") ? nodeId.slice("service:".length) : "";
  return map.service_thresholds[service] ?? map.thresholds;
}

export interface ClassShare {
  name: ResponseClass;
  count: number;
  /** 0..1 of all responses; 0 when there are none. */
  share: number;
}

export function classShares(summary: Summary): ClassShare[] {
  const total = CLASSES.reduce((sum, name) => sum + summary[name], 0);
  return CLASSES.map((name) => ({
    name,
    count: summary[name],
    share: total === 0 ? 0 : summary[name] / total,
  }));
}

/** A piece of a ring: where it starts and how long it is, both 0..1 of the circumference. */
export interface RingPiece {
  name: ResponseClass;
  start: number;
  length: number;
}

/**
 * The node's ring of response classes. A class that is there at all gets at least `least` of the ring, so that one
 * failed call among a million is still seen; the largest class pays for it.
 */
export function ringPieces(summary: Summary, least = 0.02): RingPiece[] {
  const shares = classShares(summary).filter((piece) => piece.count > 0);
  const lengths = shares.map((piece) => Math.max(piece.share, least));
  const surplus = lengths.reduce((sum, length) => sum + length, 0) - 1;
  const largest = lengths.indexOf(Math.max(...lengths));
  if (largest >= 0) lengths[largest] = (lengths[largest] ?? 0) - surplus;
  let start = 0;
  return shares.map((piece, index) => {
    const length = lengths[index] ?? 0;
    const ring = { name: piece.name, start, length };
    start += length;
    return ring;
  });
}

/** Several steps' classes added up; the percentiles of sums cannot be had from their parts and are left out. */
export function addClasses(summaries: Summary[]): Record<ResponseClass, number> {
  const sum = { fast: 0, normal: 0, slow: 0, very_slow: 0, error: 0 };
  for (const summary of summaries) for (const name of CLASSES) sum[name] += summary[name];
  return sum;
}

/** 0..1; 0 when there were no calls. */
export function errorShare(count: number, errorCount: number): number {
  return count === 0 ? 0 : errorCount / count;
}

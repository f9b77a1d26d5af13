// Enters: what a test cares about. Leaves: a whole summary, span or point around it. For tests only.
import type { ScatterPoint, Span, Summary } from "../api/types";

export function summaryOf(
  classes: Partial<Pick<Summary, "fast" | "normal" | "slow" | "very_slow" | "error">>,
): Summary {
  const all = { fast: 0, normal: 0, slow: 0, very_slow: 0, error: 0, ...classes };
  const count = all.fast + all.normal + all.slow + all.very_slow + all.error;
  return {
    ...all,
    count,
    error_count: all.error,
    average_ms: 10,
    max_ms: 50,
    p50_ms: 8,
    p95_ms: 30,
    p99_ms: 45,
  };
}

export function spanOf(id: string, depth: number, part: Partial<Span> = {}): Span {
  return {
    span_id: id,
    parent_span_id: depth === 0 ? null : "parent",
    depth,
    kind: "server",
    service: "shop",
    instance: "shop-1",
    host_name: "host-a",
    protocol: "http",
    name: "GET /",
    operation: "GET",
    target: "/",
    status: "ok",
    status_text: "200",
    error: false,
    error_message: null,
    unanswered: "",
    start_ms: 1000,
    offset_ms: 0,
    gap_ms: 0,
    duration_ms: 10,
    self_ms: 10,
    percent: 100,
    skew_ms: 0,
    request_bytes: null,
    response_bytes: null,
    peer: null,
    link: { method: "thread", confidence: "exact", probability: 1 },
    attributes: {},
    ...part,
  };
}

export function pointOf(time_ms: number, duration_ms: number, error: 0 | 1 = 0): ScatterPoint {
  return [time_ms, duration_ms, error, "trace", "span"];
}

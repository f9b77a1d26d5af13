// Enters: the shop's spans and a request's parameters. Leaves: the answers of docs/API.md, every number counted from the spans,
// so that map, scatter, list and trace agree with one another as a real collector's do.
import { minuteOfShop, PEERS, SERVICES } from "./shop.mjs";

/** How far back the shop's history reaches. */
const HISTORY_MS = 3 * 3_600_000;
/** The classes of summarise(). */
export const BOUNDS = { thresholds: { fast_ms: 1000, normal_ms: 3000, slow_ms: 5000 }, service_thresholds: {} };
const cache = new Map();

function minute(number) {
  let traces = cache.get(number);
  if (traces === undefined) {
    traces = minuteOfShop(number);
    cache.set(number, traces);
  }
  return traces;
}

/** Traces that may have spans in the range; none from the future, none older than the history. */
function tracesOf(range, now_ms) {
  const from = Math.max(range.from_ms, now_ms - HISTORY_MS);
  const to = Math.min(range.to_ms, now_ms);
  const found = [];
  for (let number = Math.floor(from / 60_000) - 1; number * 60_000 < to; number += 1) {
    for (const trace of minute(number)) if (trace.spans[0].start_ms < now_ms) found.push(trace);
  }
  return found;
}

function spansOf(range, now_ms) {
  return tracesOf(range, now_ms)
    .flatMap((trace) => trace.spans.map((span) => ({ ...span, trace })))
    .filter((span) => span.start_ms >= range.from_ms && span.start_ms < range.to_ms && span.start_ms >= now_ms - HISTORY_MS);
}

export function summarise(spans) {
  const classes = { fast: 0, normal: 0, slow: 0, very_slow: 0, error: 0 };
  for (const span of spans) {
    const length = span.duration_ms;
    classes[span.error ? "error" : length <= 1000 ? "fast" : length <= 3000 ? "normal" : length <= 5000 ? "slow" : "very_slow"] += 1;
  }
  const sorted = spans.map((span) => span.duration_ms).sort((a, b) => a - b);
  const at = (share) => sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] ?? 0;
  return {
    count: spans.length,
    error_count: classes.error,
    ...classes,
    average_ms: sorted.length === 0 ? 0 : sorted.reduce((sum, length) => sum + length, 0) / sorted.length,
    max_ms: sorted.at(-1) ?? 0,
    p50_ms: at(0.5),
    p95_ms: at(0.95),
    p99_ms: at(0.99),
  };
}

function spansOfPlace(spans, { node, edge }) {
  if (edge) {
    const [source, target] = edge.split("->");
    if (source === "user:outside") return spans.filter((span) => span.depth === 0 && `service:${span.service}` === target);
    return spans.filter((span) => span.kind === "client" && `service:${span.service}` === source && span.peer === target);
  }
  if (!node) return spans.filter((span) => span.depth === 0);
  if (node === "user:outside") return spans.filter((span) => span.depth === 0);
  if (node.startsWith("service:")) {
    return spans.filter((span) => span.kind === "server" && `service:${span.service}` === node);
  }
  return spans.filter((span) => span.kind === "client" && span.peer === node);
}

export function services(range, _query, now_ms) {
  const spans = spansOf(range, now_ms).filter((span) => span.kind === "server");
  const rows = SERVICES.map((service) => {
    const own = spans.filter((span) => span.service === service.name);
    return {
      id: `service:${service.name}`,
      name: service.name,
      kind: "service",
      family: service.family,
      instances: service.instances.length,
      count: own.length,
      error_count: own.filter((span) => span.error).length,
    };
  });
  return { services: rows.filter((row) => row.count > 0).sort((a, b) => (a.name < b.name ? -1 : 1)) };
}

export function map(range, query, now_ms) {
  const spans = spansOf(range, now_ms);
  const edgeIds = new Set();
  for (const span of spans) {
    if (span.depth === 0) edgeIds.add(`user:outside->service:${span.service}`);
    else if (span.kind === "client") edgeIds.add(`service:${span.service}->${span.peer}`);
  }
  let edges = [...edgeIds].sort().map((id) => {
    const own = spansOfPlace(spans, { edge: id });
    const [source, target] = id.split("->");
    const summary = summarise(own);
    const inferred = own.filter((span) => span.link.confidence === "inferred").length;
    const exact = own.filter((span) => span.link.confidence === "exact").length;
    return { id, source, target, count: summary.count, error_count: summary.error_count, summary, links: { exact, inferred } };
  });
  if (query.service) {
    const reached = new Set([`service:${query.service}`]);
    for (let round = 0; round < Number(query.depth ?? 4); round += 1) {
      for (const edge of edges) if (reached.has(edge.source)) reached.add(edge.target);
    }
    edges = edges.filter((edge) => reached.has(edge.source) || edge.target === `service:${query.service}`);
  }
  const ids = [...new Set(edges.flatMap((edge) => [edge.source, edge.target]))].sort();
  const nodes = ids.map((id) => {
    const summary = summarise(spansOfPlace(spans, { node: id }));
    if (id === "user:outside") return { id, kind: "user", name: "outside", system: "", watched: false, instances: [], summary };
    if (PEERS[id]) return { id, ...PEERS[id], watched: false, instances: [], summary };
    const name = id.slice("service:".length);
    const service = SERVICES.find((candidate) => candidate.name === name);
    return { id, kind: "service", name, system: service.family, watched: true, instances: service.instances, summary };
  });
  return { from_ms: range.from_ms, to_ms: range.to_ms, nodes, edges, edges_left_out: 0, ...BOUNDS };
}

export function timeseries(range, query, now_ms) {
  const step_ms = 60_000;
  const spans = spansOfPlace(spansOf(range, now_ms), query);
  const steps = new Map();
  for (const span of spans) {
    const time_ms = Math.floor(span.start_ms / step_ms) * step_ms;
    steps.set(time_ms, [...(steps.get(time_ms) ?? []), span]);
  }
  const points = [...steps].sort(([a], [b]) => a - b).map(([time_ms, own]) => ({ time_ms, summary: summarise(own) }));
  return { step_ms, points };
}

export function scatter(range, query, now_ms) {
  const spans = spansOfPlace(spansOf(range, now_ms), query);
  const limit = Number(query.limit ?? 20_000);
  const points = spans
    .slice(0, limit)
    .map((span) => [span.start_ms, span.duration_ms, span.error ? 1 : 0, span.trace_id, span.span_id]);
  return { from_ms: range.from_ms, to_ms: range.to_ms, total: spans.length, sampled: spans.length > limit, points };
}

export function transactions(range, query, now_ms) {
  const least = Number(query.min_duration_ms ?? 0);
  const most = query.max_duration_ms === undefined ? Number.POSITIVE_INFINITY : Number(query.max_duration_ms);
  const rows = spansOfPlace(spansOf(range, now_ms), query)
    .filter((span) => span.duration_ms >= least && span.duration_ms <= most)
    .filter((span) => query.status === undefined || (query.status === "error") === span.error)
    .filter((span) => query.name === undefined || span.name.toLowerCase().includes(query.name.toLowerCase()))
    .map((span) => ({
      trace_id: span.trace_id,
      span_id: span.span_id,
      time_ms: span.start_ms,
      duration_ms: span.duration_ms,
      service: span.service,
      instance: span.instance,
      name: span.name,
      target: span.target,
      status: span.status,
      error: span.error,
      spans: span.trace.spans.length,
    }));
  const key = query.sort === "duration" ? "duration_ms" : "time_ms";
  const sign = query.order === "asc" ? 1 : -1;
  rows.sort((a, b) => sign * (a[key] - b[key]));
  const limit = Number(query.limit ?? 100);
  const start = Number(query.cursor ?? 0);
  const end = start + limit;
  return {
    total: rows.length,
    transactions: rows.slice(start, end),
    next_cursor: end < rows.length ? String(end) : null,
  };
}

/** Null when there is no such trace. */
export function trace(traceId, now_ms) {
  const found = tracesOf({ from_ms: now_ms - HISTORY_MS, to_ms: now_ms }, now_ms).find((one) => one.trace_id === traceId);
  if (found === undefined) return null;
  const [root] = found.spans;
  const ends = new Map();
  const spans = found.spans.map((span) => {
    const children = found.spans.filter((child) => child.parent_span_id === span.span_id);
    const parent = found.spans.find((candidate) => candidate.span_id === span.parent_span_id);
    const before = ends.get(span.parent_span_id) ?? parent?.start_ms ?? root.start_ms;
    ends.set(span.parent_span_id, span.start_ms + span.duration_ms);
    return describe(span, root, children, before);
  });
  return {
    trace_id: traceId,
    start_ms: root.start_ms,
    duration_ms: root.duration_ms,
    span_count: spans.length,
    services: [...new Set(spans.map((span) => span.service))],
    complete: true,
    truncated: false,
    spans,
  };
}

function describe(span, root, children, before) {
  const round = (value) => Math.round(value * 1000) / 1000;
  const covered = children.reduce((sum, child) => sum + child.duration_ms, 0);
  const http = span.protocol === "http";
  return {
    span_id: span.span_id,
    parent_span_id: span.parent_span_id,
    depth: span.depth,
    kind: span.kind,
    service: span.service,
    instance: span.instance,
    host_name: "shop-a",
    protocol: span.protocol,
    name: span.name,
    operation: span.operation,
    target: span.target,
    status: span.error ? "error" : "unset",
    status_text: span.status,
    error: span.error,
    error_message: span.error_message ?? "",
    unanswered: "",
    start_ms: span.start_ms,
    offset_ms: round(span.start_ms - root.start_ms),
    gap_ms: round(Math.max(0, span.start_ms - before)),
    duration_ms: span.duration_ms,
    self_ms: round(Math.max(0, span.duration_ms - covered)),
    percent: root.duration_ms === 0 ? 0 : (100 * span.duration_ms) / root.duration_ms,
    skew_ms: 0,
    request_bytes: 180 + span.target.length,
    response_bytes: http ? 5200 : 96,
    peer: span.peer ?? null,
    link: span.link,
    attributes: http
      ? { "http.request.method": span.operation, "url.path": span.target, "http.response.status_code": Number(span.status) || 0, "network.protocol.version": "1.1" }
      : { "db.system.name": span.protocol, "db.operation.name": span.operation, "db.query.text": span.target },
  };
}

export function agents(_range, _query, now_ms) {
  const losses = { ring_full_data: 0, connections_evicted: 0, stream_missing_bytes: 0, parser_malformed: 0, collector_spans_given_up: 0 };
  const hook = (event, tier, problem = null) => ({ event, tier, problem });
  const agent = (id, host_name, part) => ({
    id,
    host_name,
    version: "0.1.0",
    kernel_release: "6.12.48-cloud-amd64",
    started_ms: now_ms - 7_560_000,
    last_seen_ms: now_ms - 1200,
    alive: true,
    resident_bytes: 31_400_000,
    cpu_ms: 48_210,
    spans: 1_204_331,
    losses,
    counters: { events_total: 9_120_411, bytes_copied: 812_331_004, connections_adopted: 14, spans_linked: 1_190_220 },
    hooks: [
      hook("socket state", "tracepoint"),
      hook("data in", "fentry"),
      hook("data out", "fentry"),
      hook("accept", "tracepoint"),
      hook("process exit", "tracepoint"),
    ],
    service_losses: [],
    connection_losses: [],
    ...part,
  });
  return {
    agents: [
      agent("4f2a9c", "shop-a", {}),
      agent("91bb07", "shop-b", {
        kernel_release: "5.10.0-35-cloud-amd64",
        losses: { ...losses, ring_full_data: 1187, stream_missing_bytes: 17 },
        service_losses: [
          { service: "catalog", reason: "ring_full_data", count: 1102 },
          { service: "orders", reason: "ring_full_data", count: 85 },
          { service: "orders", reason: "stream_missing_bytes", count: 17 },
        ],
        connection_losses: [
          { service: "orders", local: "10.0.3.7:41822", remote: "10.0.3.9:5432", reason: "stream_missing_bytes", count: 17, last_ms: now_ms - 31_000 },
        ],
        hooks: [
          hook("socket state", "tracepoint"),
          hook("data in", "tracepoint", "fentry: kernel has no BPF trampoline on this architecture"),
          hook("data out", "tracepoint"),
          hook("accept", "tracepoint"),
          hook("io_uring", "", "no stable tracepoint carries the data"),
        ],
      }),
      agent("c03d55", "shop-c", { alive: false, last_seen_ms: now_ms - 640_000 }),
    ],
    collector: { losses: { ingest_queue_full: 0, rollup_late: 0 }, counters: { batches_repeated: 2 }, spans_stored: 3_310_204, segments: 41, store_bytes: 118_220_800, buffered_spans: 4211, buffered_bytes: 1_380_000 },
  };
}

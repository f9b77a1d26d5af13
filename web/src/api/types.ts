// The shapes of docs/API.md, version 1, as TypeScript types. Nothing else is here: no defaults, no derived numbers.

/** Pinpoint's five response classes; they add up to `count`. */
export interface Summary {
  count: number;
  error_count: number;
  fast: number;
  normal: number;
  slow: number;
  very_slow: number;
  error: number;
  average_ms: number;
  max_ms: number;
  p50_ms: number;
  p95_ms: number;
  p99_ms: number;
}

export type NodeKind = "user" | "service" | "database" | "cache" | "queue" | "external";

export interface Service {
  /** Its node's id. */
  id: string;
  name: string;
  kind: string;
  family: string;
  instances: number;
  count: number;
  error_count: number;
}

export interface Services {
  services: Service[];
}

export interface MapNode {
  id: string;
  kind: NodeKind;
  name: string;
  /** Software of a database, cache or queue, else the runtime; may be empty. */
  system: string;
  /** Whether its own processes are seen, not only the calls to it. */
  watched: boolean;
  instances: string[];
  summary: Summary;
}

export interface MapEdge {
  id: string;
  source: string;
  target: string;
  count: number;
  error_count: number;
  summary: Summary;
  links: { exact: number; inferred: number };
}

/** Up to which duration a response is fast, normal, slow; above it is very slow. */
export interface Thresholds {
  fast_ms: number;
  normal_ms: number;
  slow_ms: number;
}

export interface ServerMap {
  from_ms: number;
  to_ms: number;
  nodes: MapNode[];
  edges: MapEdge[];
  /** Edges beyond the answer's bound, left out. */
  edges_left_out: number;
  thresholds: Thresholds;
  /** Services for which other bounds hold. */
  service_thresholds: Record<string, Thresholds>;
}

export interface Timeseries {
  step_ms: number;
  points: { time_ms: number; summary: Summary }[];
}

/** `[time_ms, duration_ms, error 0/1, trace_id, span_id]` */
export type ScatterPoint = [
  time_ms: number,
  duration_ms: number,
  error: 0 | 1,
  trace_id: string,
  span_id: string,
];

export interface Scatter {
  from_ms: number;
  to_ms: number;
  total: number;
  sampled: boolean;
  points: ScatterPoint[];
}

export interface Transaction {
  trace_id: string;
  span_id: string;
  time_ms: number;
  duration_ms: number;
  service: string;
  instance: string;
  name: string;
  target: string;
  status: string;
  error: boolean;
  spans: number;
}

export interface Transactions {
  total: number;
  transactions: Transaction[];
  next_cursor: string | null;
}

export type LinkMethod =
  | "header"
  | "tcp"
  | "thread"
  | "goroutine"
  | "task"
  | "handoff"
  | "inference"
  | "otlp"
  | "none";

export interface Link {
  method: LinkMethod;
  confidence: "exact" | "inferred" | "none";
  probability: number | null;
}

export interface Span {
  span_id: string;
  parent_span_id: string | null;
  depth: number;
  kind: "internal" | "server" | "client" | "producer" | "consumer";
  service: string;
  instance: string;
  host_name: string;
  protocol: string;
  name: string;
  operation: string;
  target: string;
  status: "unset" | "ok" | "error";
  /** As the protocol writes it. */
  status_text: string | null;
  error: boolean;
  error_message: string | null;
  /** Why there was no response; empty when there was one. */
  unanswered: string | null;
  start_ms: number;
  offset_ms: number;
  gap_ms: number;
  duration_ms: number;
  self_ms: number;
  percent: number;
  /** How far the span was moved because its host's clock differs. */
  skew_ms: number;
  request_bytes: number | null;
  response_bytes: number | null;
  peer: string | null;
  link: Link;
  attributes: Record<string, unknown>;
}

export interface Trace {
  trace_id: string;
  start_ms: number;
  duration_ms: number;
  span_count: number;
  services: string[];
  complete: boolean;
  /** More spans are stored than the answer holds. */
  truncated: boolean;
  spans: Span[];
}

export interface Hook {
  event: string;
  tier: string;
  problem: string | null;
}

export interface Agent {
  id: string;
  host_name: string;
  version: string;
  kernel_release: string;
  started_ms: number;
  last_seen_ms: number;
  alive: boolean;
  resident_bytes: number;
  cpu_ms: number;
  spans: number;
  losses: Record<string, number>;
  counters: Record<string, number>;
  hooks: Hook[];
  service_losses: { service: string; reason: string; count: number }[];
  connection_losses: ConnectionLoss[];
}

export interface ConnectionLoss {
  service: string;
  local: string;
  remote: string;
  reason: string;
  count: number;
  last_ms: number;
}

export interface Agents {
  agents: Agent[];
  collector: {
    losses: Record<string, number>;
    counters: Record<string, number>;
    spans_stored: number;
    segments: number;
    store_bytes: number;
    /** Acknowledged and durable, not yet in a segment. */
    buffered_spans: number;
  };
}

// Enters: the map's nodes and edges by id. Leaves: where each node's ring and each edge's curve and label lie, left to right.
// The same set of ids gives the same layout whatever order the answer has them in, so a refresh moves nothing.
import { Graph, layout } from "@dagrejs/dagre";
import { curveBumpX, line } from "d3-shape";

export const RING_RADIUS = 27;
/** Room for a node with its two lines of label. */
const NODE_WIDTH = 112;
const NODE_HEIGHT = 108;
/** The ring's centre lies this far above the middle of that room. */
const RING_RISE = 22;
const LABEL_WIDTH = 60;
const LABEL_HEIGHT = 26;

export interface Point {
  x: number;
  y: number;
}

export interface PlacedEdge {
  /** SVG path from ring to ring, or a loop. */
  path: string;
  label: Point;
}

export interface Layout {
  width: number;
  height: number;
  nodes: Map<string, Point>;
  edges: Map<string, PlacedEdge>;
}

export interface Shape {
  nodes: { id: string }[];
  edges: { id: string; source: string; target: string }[];
}

/** Equal for two answers that differ only in numbers or order. */
export function layoutKey(shape: Shape): string {
  const nodes = shape.nodes.map((node) => node.id).sort();
  const edges = shape.edges.map((edge) => edge.id).sort();
  return JSON.stringify([nodes, edges]);
}

const curve = line<Point>()
  .x((point) => round(point.x))
  .y((point) => round(point.y))
  .curve(curveBumpX);

export function layOut(shape: Shape): Layout {
  const graph = new Graph({ directed: true, multigraph: true });
  graph.setGraph({ rankdir: "LR", nodesep: 22, edgesep: 18, ranksep: 24, marginx: 8, marginy: 8 });
  const known = new Set(shape.nodes.map((node) => node.id));
  for (const id of [...known].sort()) graph.setNode(id, { width: NODE_WIDTH, height: NODE_HEIGHT });
  const edges = shape.edges
    .filter((edge) => known.has(edge.source) && known.has(edge.target))
    .sort((a, b) => (a.id < b.id ? -1 : 1));
  for (const edge of edges) {
    graph.setEdge(
      edge.source,
      edge.target,
      { width: LABEL_WIDTH, height: LABEL_HEIGHT, labelpos: "c" },
      edge.id,
    );
  }
  layout(graph);

  const nodes = new Map<string, Point>();
  for (const id of known) {
    const node = graph.node(id) as Point;
    nodes.set(id, { x: round(node.x), y: round(node.y - RING_RISE) });
  }
  const placed = new Map<string, PlacedEdge>();
  for (const edge of edges) {
    const laid = graph.edge(edge.source, edge.target, edge.id) as { points: Point[]; x: number; y: number };
    placed.set(edge.id, placeEdge(edge, laid, nodes));
  }
  const size = graph.graph() as { width?: number; height?: number };
  return { width: size.width ?? 0, height: size.height ?? 0, nodes, edges: placed };
}

function placeEdge(
  edge: { source: string; target: string },
  laid: { points: Point[]; x: number; y: number },
  nodes: Map<string, Point>,
): PlacedEdge {
  const source = nodes.get(edge.source) ?? { x: 0, y: 0 };
  const target = nodes.get(edge.target) ?? { x: 0, y: 0 };
  if (edge.source === edge.target) return loop(source);
  const between = laid.points.slice(1, -1).map((point) => ({ x: point.x, y: point.y - RING_RISE }));
  const first = onRing(source, between[0] ?? target, RING_RADIUS + 3);
  const last = onRing(target, between.at(-1) ?? source, RING_RADIUS + 10);
  const path = curve([first, ...between, last]) ?? "";
  return { path, label: { x: round(laid.x), y: round(laid.y - RING_RISE) } };
}

/** A call to oneself: a small loop over the ring. */
function loop(at: Point): PlacedEdge {
  const top = at.y - RING_RADIUS;
  const path = `M${at.x - 12},${top + 2}C${at.x - 34},${top - 34} ${at.x + 34},${top - 34} ${at.x + 15},${top - 4}`;
  return { path, label: { x: at.x, y: round(top - 24) } };
}

/** Edges leave and arrive at a ring's sides, at most this steep: below it is the node's label. */
const STEEPEST = Math.PI / 5;

/** The point `distance` from a ring's centre, on the side and in the direction of `to`. */
function onRing(centre: Point, to: Point, distance: number): Point {
  const side = to.x < centre.x ? -1 : 1;
  const wanted = Math.atan2(to.y - centre.y, Math.abs(to.x - centre.x));
  const angle = Math.max(-STEEPEST, Math.min(STEEPEST, wanted));
  return { x: centre.x + side * Math.cos(angle) * distance, y: centre.y + Math.sin(angle) * distance };
}

function round(value: number): number {
  return Math.round(value * 10) / 10;
}

/** Stroke width by volume, 1.25 to 5 px, on a logarithm: a tenth of the busiest edge is still told from a hundredth. */
export function strokeWidth(count: number, busiest: number): number {
  if (count <= 0 || busiest <= 0) return 1.25;
  return 1.25 + 3.75 * (Math.log1p(count) / Math.log1p(busiest)) ** 2;
}

export type Direction = "left" | "right" | "up" | "down";

/** The node an arrow key leads to: the nearest one in that direction, sideways distance counted double. */
export function neighbour(
  nodes: ReadonlyMap<string, Point>,
  from: string,
  direction: Direction,
): string | null {
  const origin = nodes.get(from);
  if (origin === undefined) return null;
  let best: string | null = null;
  let bestCost = Number.POSITIVE_INFINITY;
  for (const [id, point] of nodes) {
    const dx = point.x - origin.x;
    const dy = point.y - origin.y;
    const [ahead, aside] =
      direction === "left"
        ? [-dx, dy]
        : direction === "right"
          ? [dx, dy]
          : direction === "up"
            ? [-dy, dx]
            : [dy, dx];
    const cost = ahead + 2 * Math.abs(aside);
    if (id !== from && ahead > 1 && cost < bestCost) {
      best = id;
      bestCost = cost;
    }
  }
  return best;
}

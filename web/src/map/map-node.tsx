// Enters: one node and its place. Leaves: its ring of response classes, icon, name, rate and errors.
import type { JSX } from "preact";
import type { MapNode } from "../api/types";
import { errorShare, ringPieces } from "../compute/classes";
import { formatCount, formatDuration, formatPerMinute, formatShare } from "../compute/format";
import { type Point, RING_RADIUS } from "../compute/layout";
import { iconPath } from "../ui/icons";

const KIND_WORDS: Record<MapNode["kind"], string> = {
  user: "callers from outside",
  service: "service",
  database: "database",
  cache: "cache",
  queue: "queue",
  external: "external",
};

/** What is written under the node: `postgresql@10.0.0.1:5432` gives its system and, below, its address. */
export function nodeLabel(node: Pick<MapNode, "kind" | "name">): string {
  return node.kind === "user" ? "Outside" : node.name;
}

/** Long names keep both ends: what distinguishes two services is as often the last word as the first. */
export function shorten(text: string, most: number): string {
  if (text.length <= most) return text;
  const tail = Math.floor((most - 1) * 0.4);
  return `${text.slice(0, most - 1 - tail)}…${text.slice(text.length - tail)}`;
}

export function describeNode(node: MapNode, range_ms: number): string {
  const { count, error_count } = node.summary;
  if (node.kind === "user") return `${nodeLabel(node)}, ${KIND_WORDS.user}`;
  return (
    `${node.name}, ${KIND_WORDS[node.kind]}, ${formatCount(count)} calls, ${formatPerMinute(count, range_ms)}, ` +
    `${formatShare(errorShare(count, error_count))} failed, 95th percentile ${formatDuration(node.summary.p95_ms)}`
  );
}

export function NodeMark({
  node,
  at,
  range_ms,
  selected,
  tabStop,
  focus,
  select,
}: {
  node: MapNode;
  at: Point;
  range_ms: number;
  selected: boolean;
  tabStop: boolean;
  focus: () => void;
  select: () => void;
}): JSX.Element {
  const { count, error_count } = node.summary;
  const share = errorShare(count, error_count);
  const [first, second] = labelLines(node);
  return (
    // biome-ignore lint/a11y/useSemanticElements: a button of SVG
    <g
      class={`node node-${node.kind} ${selected ? "node-selected" : ""}`}
      transform={`translate(${at.x},${at.y})`}
      data-id={node.id}
      role="button"
      tabIndex={tabStop ? 0 : -1}
      aria-pressed={selected}
      aria-label={describeNode(node, range_ms)}
      onFocus={focus}
      onClick={select}
      onKeyDown={(event) => {
        if (event.key !== "Enter" && event.key !== " ") return;
        event.preventDefault();
        event.stopPropagation();
        select();
      }}
    >
      <title>{node.name}</title>
      <circle class="node-halo" r={RING_RADIUS + 8} />
      <circle class="node-body" r={RING_RADIUS} />
      {node.kind !== "user" && <Ring node={node} />}
      <path class="node-icon" d={iconPath(node.kind)} transform="translate(-12.6,-12.6) scale(1.05)" />
      {node.instances.length > 1 && (
        <g class="node-instances" transform={`translate(${RING_RADIUS * 0.78},${-RING_RADIUS * 0.78})`}>
          <circle r="9.5" />
          <text dy="3.6">{node.instances.length}</text>
        </g>
      )}
      <text class="node-name" y={RING_RADIUS + 20}>
        {first}
      </text>
      {second !== "" && (
        <text class="node-place" y={RING_RADIUS + 34}>
          {second}
        </text>
      )}
      {node.kind !== "user" && (
        <text class="node-figures" y={RING_RADIUS + (second === "" ? 35 : 49)}>
          {formatPerMinute(count, range_ms)}
          {error_count > 0 && <tspan class="node-errors"> · {formatShare(share)} err</tspan>}
        </text>
      )}
    </g>
  );
}

/** Name, and for a peer `system@host:port` its address on a line of its own. */
function labelLines(node: MapNode): [string, string] {
  const name = nodeLabel(node);
  const at = name.indexOf("@");
  if (node.kind === "service" || node.kind === "user" || at <= 0) return [shorten(name, 19), ""];
  return [shorten(name.slice(0, at), 19), shorten(name.slice(at + 1), 21)];
}

const CIRCUMFERENCE = 2 * Math.PI * RING_RADIUS;

function Ring({ node }: { node: MapNode }): JSX.Element {
  const pieces = ringPieces(node.summary);
  if (pieces.length === 0) return <circle class="ring ring-none" r={RING_RADIUS} />;
  return (
    <g class="ring" transform="rotate(-90)">
      {pieces.map((piece) => (
        <circle
          key={piece.name}
          class={`ring-piece stroke-${piece.name}`}
          r={RING_RADIUS}
          stroke-dasharray={`${Math.max(0, piece.length * CIRCUMFERENCE - (pieces.length > 1 ? 1 : 0))} ${CIRCUMFERENCE}`}
          stroke-dashoffset={-piece.start * CIRCUMFERENCE}
        />
      ))}
    </g>
  );
}

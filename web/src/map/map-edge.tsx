// Enters: one edge and its curve. Leaves: its line (as wide as its traffic, the redder the more of it fails) and its label.
import type { JSX } from "preact";
import type { MapEdge } from "../api/types";
import { errorShare } from "../compute/classes";
import { formatCompact, formatCount, formatDuration, formatShare } from "../compute/format";
import type { Point } from "../compute/layout";

export function describeEdge(edge: MapEdge): string {
  const share = formatShare(errorShare(edge.count, edge.error_count));
  return (
    `${edge.source} calls ${edge.target}: ${formatCount(edge.count)} calls, ${formatCount(edge.error_count)} failed (${share}), ` +
    `average ${formatDuration(edge.summary.average_ms)}`
  );
}

/** Where errors are: from half red for a single one to all red from 5% on. */
function redness(edge: MapEdge): string {
  const share = errorShare(edge.count, edge.error_count);
  return share === 0 ? "0%" : `${Math.round(50 + 50 * Math.min(1, share / 0.05))}%`;
}

export function EdgeLine({
  edge,
  path,
  width,
  selected,
  lit,
  hovered,
  hover,
  select,
}: {
  edge: MapEdge;
  path: string;
  width: number;
  selected: boolean;
  lit: boolean;
  hovered: boolean;
  hover: (id: string | null) => void;
  select: () => void;
}): JSX.Element {
  const bad = edge.error_count > 0;
  const state = `${selected ? "edge-selected" : ""} ${lit ? "edge-lit" : ""} ${hovered ? "edge-hovered" : ""}`;
  return (
    // biome-ignore lint/a11y/noStaticElementInteractions: the same edge is a button in its label, the panel and the table
    <g
      class={`edge ${bad ? "edge-bad" : ""} ${state}`}
      style={{ "--redness": redness(edge) }}
      onClick={select}
      onPointerEnter={() => hover(edge.id)}
      onPointerLeave={() => hover(null)}
    >
      <path class="edge-halo" d={path} stroke-width={width + 7} />
      <path
        class="edge-line"
        d={path}
        stroke-width={width}
        marker-end={`url(#arrow-${bad ? "bad" : lit ? "lit" : "plain"})`}
      />
      <path class="edge-target" d={path} />
    </g>
  );
}

export function EdgeLabel({
  edge,
  at,
  selected,
  hover,
  select,
}: {
  edge: MapEdge;
  at: Point;
  selected: boolean;
  hover: (id: string | null) => void;
  select: () => void;
}): JSX.Element {
  const count = formatCompact(edge.count);
  const errors = edge.error_count > 0 ? formatCompact(edge.error_count) : "";
  const width = 13 + 6.2 * (count.length + (errors === "" ? 0 : errors.length + 2.5));
  return (
    // biome-ignore lint/a11y/useSemanticElements: a button of SVG
    <g
      class={`edge-label ${selected ? "edge-label-selected" : ""}`}
      transform={`translate(${at.x},${at.y})`}
      data-id={edge.id}
      role="button"
      tabIndex={0}
      aria-pressed={selected}
      aria-label={describeEdge(edge)}
      onClick={select}
      onPointerEnter={() => hover(edge.id)}
      onPointerLeave={() => hover(null)}
      onKeyDown={(event) => {
        if (event.key !== "Enter" && event.key !== " ") return;
        event.preventDefault();
        event.stopPropagation();
        select();
      }}
    >
      <title>{describeEdge(edge)}</title>
      <rect x={-width / 2} y={-9} width={width} height={18} rx={9} />
      <text dy="3.9">
        {count}
        {errors !== "" && <tspan class="edge-errors"> · {errors}</tspan>}
      </text>
    </g>
  );
}

// Enters: the map's answer. Leaves: the picture: nodes left to right, edges as wide as their traffic, one of them selected.
// Arrow keys go from node to node, Enter selects, + - 0 zoom; the table beside it says the same in words.
import type { JSX } from "preact";
import { useMemo, useRef, useState } from "preact/hooks";
import type { MapNode, ServerMap } from "../api/types";
import { type Direction, layOut, layoutKey, neighbour, strokeWidth } from "../compute/layout";
import type { Address } from "../state/address";
import { Icon } from "../ui/icons";
import { useSize } from "../ui/size";
import { EdgeLabel, EdgeLine } from "./map-edge";
import { NodeMark } from "./map-node";
import { useZoom } from "./use-zoom";

const ARROWS: Record<string, Direction> = {
  ArrowLeft: "left",
  ArrowRight: "right",
  ArrowUp: "up",
  ArrowDown: "down",
};

export function ServerMapPicture({
  map,
  selectedId,
  select,
}: {
  map: ServerMap;
  selectedId: string | null;
  select: (change: Partial<Pick<Address, "node" | "edge">>) => void;
}): JSX.Element {
  const frame = useRef<HTMLDivElement>(null);
  const svg = useRef<SVGSVGElement>(null);
  const view = useSize(frame);
  const [hovered, setHovered] = useState<string | null>(null);
  const key = layoutKey(map);
  // biome-ignore lint/correctness/useExhaustiveDependencies: the key is all of the map that the layout reads
  const placed = useMemo(() => layOut(map), [key]);
  const selectedEdge = map.edges.find((edge) => edge.id === selectedId);
  const zoom = useZoom(svg, view, placed, placed.nodes.get(selectedEdge?.target ?? selectedId ?? "") ?? null);
  const [focused, setFocused] = useState<string | null>(null);

  const range_ms = map.to_ms - map.from_ms;
  const busiest = Math.max(0, ...map.edges.map((edge) => edge.count));
  const nodes = useMemo(() => {
    const at = (node: MapNode) => placed.nodes.get(node.id) ?? { x: 0, y: 0 };
    return [...map.nodes].sort((a, b) => at(a).x - at(b).x || at(a).y - at(b).y);
  }, [map.nodes, placed]);
  const reachable = focused ?? selectedId;
  const tabStop = nodes.some((node) => node.id === reachable) ? reachable : (nodes[0]?.id ?? null);

  const stepTo = (id: string) => {
    const at = placed.nodes.get(id);
    if (at !== undefined) zoom.reveal(at.x, at.y);
    setFocused(id);
    svg.current?.querySelector<SVGGElement>(`.node[data-id="${CSS.escape(id)}"]`)?.focus();
  };

  const onKeyDown = (event: KeyboardEvent) => {
    const direction = ARROWS[event.key];
    if (direction !== undefined) {
      const next = neighbour(
        placed.nodes,
        (event.target as Element).getAttribute("data-id") ?? "",
        direction,
      );
      if (next !== null) stepTo(next);
    } else if (event.key === "+" || event.key === "=") zoom.by(1.25);
    else if (event.key === "-") zoom.by(0.8);
    else if (event.key === "0") zoom.showAll();
    else return;
    event.preventDefault();
  };

  const edges = [...map.edges].sort((a, b) => Number(a.id === selectedId) - Number(b.id === selectedId));
  const lit = (edge: { id: string; source: string; target: string }) =>
    edge.id === selectedId || edge.source === selectedId || edge.target === selectedId;

  return (
    <div class="map-frame" ref={frame}>
      {/* biome-ignore lint/a11y/useSemanticElements: a group of SVG */}
      <svg
        ref={svg}
        class="server-map"
        width={view.width}
        height={view.height}
        role="group"
        aria-label="Server map. Arrow keys go from node to node, Enter selects. The table shows the same."
        onKeyDown={onKeyDown}
      >
        <defs>
          {(["plain", "lit", "bad"] as const).map((tone) => (
            <marker
              key={tone}
              id={`arrow-${tone}`}
              class={`arrow arrow-${tone}`}
              viewBox="0 0 8 8"
              refX="3"
              refY="4"
              markerWidth="12"
              markerHeight="12"
              markerUnits="userSpaceOnUse"
              orient="auto-start-reverse"
            >
              <path d="M0,0.8 L7,4 L0,7.2 Z" />
            </marker>
          ))}
        </defs>
        <g transform={zoom.transform}>
          {edges.map((edge) => {
            const way = placed.edges.get(edge.id);
            if (way === undefined) return null;
            return (
              <EdgeLine
                key={edge.id}
                edge={edge}
                path={way.path}
                width={strokeWidth(edge.count, busiest)}
                selected={edge.id === selectedId}
                lit={lit(edge)}
                hovered={hovered === edge.id}
                hover={setHovered}
                select={() => select({ edge: edge.id })}
              />
            );
          })}
          {nodes.map((node) => (
            <NodeMark
              key={node.id}
              node={node}
              at={placed.nodes.get(node.id) ?? { x: 0, y: 0 }}
              range_ms={range_ms}
              selected={node.id === selectedId}
              tabStop={node.id === tabStop}
              focus={() => setFocused(node.id)}
              select={() => select({ node: node.id })}
            />
          ))}
          {edges.map((edge) => {
            const way = placed.edges.get(edge.id);
            if (way === undefined) return null;
            return (
              <EdgeLabel
                key={edge.id}
                edge={edge}
                at={way.label}
                selected={edge.id === selectedId}
                hover={setHovered}
                select={() => select({ edge: edge.id })}
              />
            );
          })}
        </g>
      </svg>
      <div class="map-zoom">
        <button
          type="button"
          class="icon-button"
          title="Zoom in"
          aria-label="Zoom in"
          onClick={() => zoom.by(1.3)}
        >
          <Icon name="plus" />
        </button>
        <button
          type="button"
          class="icon-button"
          title="Zoom out"
          aria-label="Zoom out"
          onClick={() => zoom.by(1 / 1.3)}
        >
          <Icon name="minus" />
        </button>
        <button
          type="button"
          class="icon-button"
          title="Fit the map"
          aria-label="Fit the map"
          onClick={zoom.showAll}
        >
          <Icon name="fit" />
        </button>
      </div>
    </div>
  );
}

// Enters: the map's answer. Leaves: the same in words and numbers, for screen readers and for whoever prefers tables.
import type { ComponentChildren, JSX } from "preact";
import type { ServerMap, Summary } from "../api/types";
import { errorShare } from "../compute/classes";
import { formatCount, formatMs, formatPerMinute, formatShare } from "../compute/format";
import type { Address } from "../state/address";
import { Icon } from "../ui/icons";
import { nodeLabel } from "./map-node";

function Figures({
  count,
  errors,
  summary,
  range_ms,
}: {
  count: number;
  errors: number;
  summary: Summary;
  range_ms: number;
}) {
  return (
    <>
      <td class="number">{formatCount(count)}</td>
      <td class="number wide-only">{formatPerMinute(count, range_ms)}</td>
      <td class={`number ${errors > 0 ? "bad" : "faint"}`}>{formatCount(errors)}</td>
      <td class={`number wide-only ${errors > 0 ? "bad" : "faint"}`}>
        {formatShare(errorShare(count, errors))}
      </td>
      <td class="number wide-only">{formatMs(summary.average_ms)}</td>
      <td class="number">{formatMs(summary.p95_ms)}</td>
      <td class="number wide-only">{formatMs(summary.max_ms)}</td>
    </>
  );
}

function Heads({ children }: { children: ComponentChildren }): JSX.Element {
  return (
    <thead>
      <tr>
        {children}
        <th class="number">Calls</th>
        <th class="number wide-only">Rate</th>
        <th class="number">Failed</th>
        <th class="number wide-only">Share</th>
        <th class="number wide-only">Avg ms</th>
        <th class="number">p95 ms</th>
        <th class="number wide-only">Max ms</th>
      </tr>
    </thead>
  );
}

export function MapTable({
  map,
  selectedId,
  select,
}: {
  map: ServerMap;
  selectedId: string | null;
  select: (change: Partial<Pick<Address, "node" | "edge">>) => void;
}): JSX.Element {
  const range_ms = map.to_ms - map.from_ms;
  const names = new Map(map.nodes.map((node) => [node.id, nodeLabel(node)]));
  const nodes = map.nodes
    .filter((node) => node.kind !== "user")
    .sort((a, b) => b.summary.count - a.summary.count);
  const edges = [...map.edges].sort((a, b) => b.count - a.count);
  return (
    <div class="map-table">
      <table class="table">
        <caption>Nodes</caption>
        <Heads>
          <th>Name</th>
          <th class="wide-only">Kind</th>
        </Heads>
        <tbody>
          {nodes.map((node) => (
            <tr key={node.id} aria-current={node.id === selectedId ? "true" : undefined}>
              <th scope="row">
                <button type="button" class="row-button" onClick={() => select({ node: node.id })}>
                  <Icon name={node.kind} size={14} /> {node.name}
                </button>
              </th>
              <td class="wide-only faint">{node.kind}</td>
              <Figures
                count={node.summary.count}
                errors={node.summary.error_count}
                summary={node.summary}
                range_ms={range_ms}
              />
            </tr>
          ))}
        </tbody>
      </table>
      <table class="table">
        <caption>Calls</caption>
        <Heads>
          <th>From</th>
          <th>To</th>
        </Heads>
        <tbody>
          {edges.map((edge) => (
            <tr key={edge.id} aria-current={edge.id === selectedId ? "true" : undefined}>
              <th scope="row">
                <button type="button" class="row-button" onClick={() => select({ edge: edge.id })}>
                  {names.get(edge.source) ?? edge.source}
                </button>
              </th>
              <td>{names.get(edge.target) ?? edge.target}</td>
              <Figures
                count={edge.count}
                errors={edge.error_count}
                summary={edge.summary}
                range_ms={range_ms}
              />
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

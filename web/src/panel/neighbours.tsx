// Enters: the map and one of its nodes. Leaves: who calls it and whom it calls, each a way to that edge.
import type { JSX } from "preact";
import type { MapEdge, MapNode, ServerMap } from "../api/types";
import { formatCompact, formatDuration } from "../compute/format";
import { nodeLabel } from "../map/map-node";
import { useNavigation } from "../state/navigation";
import { Icon } from "../ui/icons";

export function Neighbours({ map, node }: { map: ServerMap; node: MapNode }): JSX.Element | null {
  const callers = map.edges.filter((edge) => edge.target === node.id);
  const called = map.edges.filter((edge) => edge.source === node.id);
  if (callers.length + called.length === 0) return null;
  return (
    <section class="panel-section neighbours" aria-label="Neighbours">
      <List title="Called by" edges={callers} other="source" map={map} />
      <List title="Calls" edges={called} other="target" map={map} />
    </section>
  );
}

function List({
  title,
  edges,
  other,
  map,
}: {
  title: string;
  edges: MapEdge[];
  other: "source" | "target";
  map: ServerMap;
}): JSX.Element | null {
  const { go } = useNavigation();
  if (edges.length === 0) return null;
  const sorted = [...edges].sort((a, b) => b.count - a.count);
  return (
    <div>
      <h3>{title}</h3>
      <ul class="neighbour-list">
        {sorted.map((edge) => {
          const node = map.nodes.find((candidate) => candidate.id === edge[other]);
          return (
            <li key={edge.id}>
              <button type="button" class="neighbour" onClick={() => go({ node: null, edge: edge.id })}>
                <Icon name={node?.kind ?? "external"} size={14} />
                <span class="neighbour-name">{node === undefined ? edge[other] : nodeLabel(node)}</span>
                {edge.error_count > 0 && <span class="bad">{formatCompact(edge.error_count)} failed</span>}
                <span class="number">{formatCompact(edge.count)}</span>
                <span class="number faint">{formatDuration(edge.summary.average_ms)}</span>
              </button>
            </li>
          );
        })}
      </ul>
    </div>
  );
}

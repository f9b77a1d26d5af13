// Enters: what is selected on the map. Leaves: its figures: percentiles, scatter, response classes, load, neighbours.
import type { JSX } from "preact";
import { requestPath } from "../api/client";
import { useQuery } from "../api/query";
import type { MapEdge, MapNode, Scatter, ServerMap, Summary, Timeseries } from "../api/types";
import { errorShare, thresholdsOf } from "../compute/classes";
import { formatCount, formatDuration, formatNumbered, formatPerMinute, formatShare } from "../compute/format";
import { nodeLabel } from "../map/map-node";
import type { Selected } from "../map/map-view";
import { resolveRange } from "../state/address";
import type { Clock } from "../state/clock";
import { useNavigation } from "../state/navigation";
import { Icon } from "../ui/icons";
import { Empty, Failed, Skeleton } from "../ui/notice";
import { LoadChart } from "./load-chart";
import { Neighbours } from "./neighbours";
import { ScatterSection } from "./scatter";
import { SummaryChart } from "./summary-chart";

export function Panel({
  clock,
  map,
  selected,
  failed,
}: {
  clock: Clock;
  map: ServerMap | null;
  selected: Selected;
  failed: boolean;
}): JSX.Element | null {
  if (map === null) {
    return failed ? null : (
      <aside class="panel" aria-label="Selected">
        <Skeleton lines={9} label="Loading figures" />
      </aside>
    );
  }
  if (map.nodes.length === 0) return null;
  const { node, edge } = selected;
  if (node === null && edge === null) {
    return (
      <aside class="panel" aria-label="Selected">
        <Empty title="Nothing selected">
          <p>What was selected has no requests in this range. Choose a node or an edge of the map.</p>
        </Empty>
      </aside>
    );
  }
  const id = edge?.id ?? node?.id ?? "";
  return (
    <aside class="panel" aria-label={`Selected: ${id}`} key={id}>
      <PanelBody clock={clock} map={map} node={node} edge={edge} />
    </aside>
  );
}

function PanelBody({
  clock,
  map,
  node,
  edge,
}: {
  clock: Clock;
  map: ServerMap;
  node: MapNode | null;
  edge: MapEdge | null;
}): JSX.Element {
  const { from_ms, to_ms } = clock;
  const { address } = useNavigation();
  // Callers from outside are not watched: what they waited for is told by the edges to whom they called.
  const figures = edge !== null || node?.kind !== "user" || node.summary.count > 0;
  const bounds = thresholdsOf(map, measuredAt(edge, node));
  const which = edge === null ? { node: node?.id } : { edge: edge.id };
  // A relative range is one subject while it moves on; another length is another subject.
  const { from_ms: relative } = resolveRange(address.range, 0);
  const subject = `${edge?.id ?? node?.id} ${relative}`;
  const scatter = useQuery<Scatter>(
    figures ? requestPath("scatter", { from_ms, to_ms, ...which }) : null,
    subject,
  );
  const series = useQuery<Timeseries>(
    figures ? requestPath("timeseries", { from_ms, to_ms, ...which }) : null,
    subject,
  );
  const summary = figures ? (edge?.summary ?? node?.summary) : undefined;

  return (
    <>
      <PanelHead map={map} node={node} edge={edge} />
      {summary !== undefined && <KeyFigures summary={summary} range_ms={map.to_ms - map.from_ms} />}
      {figures && <ScatterSection query={scatter} clock={clock} which={which} />}
      {summary !== undefined && (
        <section class="panel-section" aria-labelledby="summary-title">
          <h3 id="summary-title">Response summary</h3>
          <SummaryChart summary={summary} bounds={bounds} />
        </section>
      )}
      {figures && (
        <section class="panel-section" aria-labelledby="load-title" aria-busy={series.busy}>
          <h3 id="load-title">Load</h3>
          {series.data !== null ? (
            <LoadChart series={series.data} bounds={bounds} from_ms={from_ms} to_ms={to_ms} />
          ) : series.error !== null ? (
            <Failed error={series.error} retry={series.retry} what="The load" />
          ) : (
            <Skeleton lines={3} label="Loading the load over time" />
          )}
        </section>
      )}
      {node !== null && <Neighbours map={map} node={node} />}
    </>
  );
}

/** A call counts as its caller's service says, one from outside as the called one says. */
function measuredAt(edge: MapEdge | null, node: MapNode | null): string {
  if (edge === null) return node?.id ?? "";
  return edge.source.startsWith("service:") ? edge.source : edge.target;
}

function PanelHead({
  map,
  node,
  edge,
}: {
  map: ServerMap;
  node: MapNode | null;
  edge: MapEdge | null;
}): JSX.Element {
  if (edge !== null) {
    const name = (id: string) => {
      const found = map.nodes.find((candidate) => candidate.id === id);
      return found === undefined ? id : nodeLabel(found);
    };
    const { exact, inferred } = edge.links;
    const linked = exact + inferred;
    return (
      <header class="panel-head">
        <h2>
          <span>{name(edge.source)}</span> <span class="faint">→</span> <span>{name(edge.target)}</span>
        </h2>
        <p class="panel-sub">
          Calls between two nodes
          {linked > 0 && (
            <>
              {" · links "}
              <span class="badge badge-exact">{formatShare(exact / linked)} exact</span>
              {inferred > 0 && (
                <span class="badge badge-inferred">{formatShare(inferred / linked)} inferred</span>
              )}
            </>
          )}
        </p>
      </header>
    );
  }
  if (node === null) return <header class="panel-head" />;
  return (
    <header class="panel-head">
      <h2>
        <Icon name={node.kind} size={17} /> <span>{nodeLabel(node)}</span>
      </h2>
      <p class="panel-sub">
        <span>{node.kind === "user" ? "callers from outside what is watched" : node.kind}</span>
        {node.system !== "" && <span> · {node.system}</span>}
        {!node.watched && node.kind !== "user" && <span> · seen from its callers only</span>}
        {node.instances.length > 0 && (
          <details class="instances">
            <summary>{formatNumbered(node.instances.length, "instance")}</summary>
            <ul>
              {node.instances.map((instance) => (
                <li key={instance}>{instance}</li>
              ))}
            </ul>
          </details>
        )}
      </p>
    </header>
  );
}

function KeyFigures({ summary, range_ms }: { summary: Summary; range_ms: number }): JSX.Element {
  const share = errorShare(summary.count, summary.error_count);
  return (
    <dl class="figures">
      <Figure
        name="Calls"
        value={formatCount(summary.count)}
        note={formatPerMinute(summary.count, range_ms)}
      />
      <Figure
        name="Failed"
        value={formatCount(summary.error_count)}
        note={formatShare(share)}
        bad={summary.error_count > 0}
      />
      <Figure name="Average" value={formatDuration(summary.average_ms)} />
      <Figure name="p50" value={formatDuration(summary.p50_ms)} />
      <Figure name="p95" value={formatDuration(summary.p95_ms)} />
      <Figure name="p99" value={formatDuration(summary.p99_ms)} />
      <Figure name="Max" value={formatDuration(summary.max_ms)} />
    </dl>
  );
}

function Figure({
  name,
  value,
  note,
  bad,
}: {
  name: string;
  value: string;
  note?: string;
  bad?: boolean;
}): JSX.Element {
  return (
    <div class={`figure ${bad === true ? "figure-bad" : ""}`} data-figure={name.toLowerCase()}>
      <dt>{name}</dt>
      <dd>
        {value}
        {note !== undefined && <span class="figure-note">{note}</span>}
      </dd>
    </div>
  );
}

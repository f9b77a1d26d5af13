// Enters: clock and address. Leaves: the server map beside the panel of what is selected on it.
import type { JSX } from "preact";
import { useEffect, useRef } from "preact/hooks";
import { requestPath } from "../api/client";
import { useQuery } from "../api/query";
import type { MapEdge, MapNode, ServerMap } from "../api/types";
import { formatCount } from "../compute/format";
import { Panel } from "../panel/panel";
import { nodeOfService } from "../state/address";
import type { Clock } from "../state/clock";
import { useNavigation } from "../state/navigation";
import { Icon } from "../ui/icons";
import { Empty, Failed, Stale } from "../ui/notice";
import { MapTable } from "./map-table";
import { ServerMapPicture } from "./server-map";

export interface Selected {
  node: MapNode | null;
  edge: MapEdge | null;
}

/** What the address names; else the picked service, else where most requests come in. */
export function defaultNode(map: ServerMap, service: string | null): MapNode | null {
  const byId = (id: string) => map.nodes.find((node) => node.id === id) ?? null;
  if (service !== null) return byId(nodeOfService(service));
  const entries = map.edges
    .filter((edge) => edge.source.startsWith("user:"))
    .sort((a, b) => b.count - a.count);
  const entry = entries[0];
  if (entry !== undefined) return byId(entry.target);
  const services = map.nodes.filter((node) => node.kind === "service");
  return services.sort((a, b) => b.summary.count - a.summary.count)[0] ?? map.nodes[0] ?? null;
}

export function MapView({ clock }: { clock: Clock }): JSX.Element {
  const { address, go, refine } = useNavigation();
  const { from_ms, to_ms } = clock;
  const query = useQuery<ServerMap>(
    requestPath("map", { from_ms, to_ms, service: address.service }),
    `map ${address.service ?? ""} ${address.range.kind === "custom" ? `${from_ms}-${to_ms}` : address.range.key}`,
  );
  const map = query.data;

  // The page's own choice stays while it is on the map, whatever the traffic does.
  const kept = useRef<string | null>(null);
  const chosen = useRef<string | null>(null);
  if (chosen.current !== address.service) kept.current = null;
  chosen.current = address.service;

  let selected: Selected = { node: null, edge: null };
  if (map !== null) {
    const edge = map.edges.find((candidate) => candidate.id === address.edge) ?? null;
    const asked = address.node ?? (address.edge === null ? kept.current : null);
    const node = map.nodes.find((candidate) => candidate.id === asked) ?? null;
    const nothingAsked = address.node === null && address.edge === null;
    selected = { edge, node: node ?? (nothingAsked ? defaultNode(map, address.service) : null) };
    if (nothingAsked) kept.current = selected.node?.id ?? null;
  }
  const selectedId = selected.edge?.id ?? selected.node?.id ?? null;

  useEffect(() => {
    if (address.mapAs === "picture") return;
    document.querySelector<HTMLElement>(".map-table [aria-current]")?.scrollIntoView({ block: "nearest" });
  }, [address.mapAs]);

  return (
    <>
      <section class="map-pane" aria-label="Server map" aria-busy={query.busy}>
        <fieldset
          class="segments map-as"
          hidden={map !== null && map.nodes.length === 0}
          aria-label="Show the map as"
        >
          <button
            type="button"
            aria-pressed={address.mapAs === "picture"}
            onClick={() => refine({ mapAs: "picture" })}
          >
            <Icon name="map" size={14} /> Map
          </button>
          <button
            type="button"
            aria-pressed={address.mapAs === "table"}
            onClick={() => refine({ mapAs: "table" })}
          >
            <Icon name="list" size={14} /> Table
          </button>
        </fieldset>
        {query.busy && map !== null && <span class="busy-line" aria-hidden="true" />}
        {query.error !== null && map !== null && <Stale error={query.error} retry={query.retry} />}
        {map === null && query.error === null && <MapSkeleton />}
        {map === null && query.error !== null && (
          <Failed error={query.error} retry={query.retry} what="The server map" />
        )}
        {map !== null && map.edges_left_out > 0 && (
          <p class="map-left-out" role="status">
            {formatCount(map.edges_left_out)} quieter edges are not drawn: pick a service to see them
          </p>
        )}
        {map !== null && map.nodes.length === 0 && <NoRequests />}
        {map !== null && map.nodes.length > 0 && address.mapAs === "picture" && (
          <ServerMapPicture
            map={map}
            selectedId={selectedId}
            select={(change) => go({ node: null, edge: null, ...change })}
          />
        )}
        {map !== null && map.nodes.length > 0 && address.mapAs === "table" && (
          <MapTable
            map={map}
            selectedId={selectedId}
            select={(change) => go({ node: null, edge: null, ...change })}
          />
        )}
      </section>
      <Panel clock={clock} map={map} selected={selected} failed={query.error !== null && map === null} />
    </>
  );
}

function NoRequests(): JSX.Element {
  const { address, go } = useNavigation();
  const widen = address.range.kind === "custom" || address.range.key !== "2d";
  return (
    <Empty title="No requests in this range">
      <p>
        {address.service === null ? "Nothing was seen" : `Nothing was seen of ${address.service}`} in this
        time. Widen the range, or see whether an agent is connected.
      </p>
      <p class="notice-actions">
        {widen && (
          <button
            type="button"
            class="button"
            onClick={() => go({ range: { kind: "last", key: "2d", live: false }, node: null, edge: null })}
          >
            Last 2 days
          </button>
        )}
        {address.service !== null && (
          <button type="button" class="button" onClick={() => go({ service: null, node: null, edge: null })}>
            All services
          </button>
        )}
        <button type="button" class="button" onClick={() => go({ view: "agents" })}>
          Agents
        </button>
      </p>
    </Empty>
  );
}

function MapSkeleton(): JSX.Element {
  return (
    <div class="map-skeleton" role="status" data-state="loading">
      <span class="visually-hidden">Loading the server map …</span>
      {[0, 1, 2, 3].map((index) => (
        <span key={index} class="map-skeleton-node" />
      ))}
    </div>
  );
}

// Enters: the answer about agents. Leaves: every agent with its state, hooks and losses, and the collector's own.
import type { JSX } from "preact";
import type { Query } from "../api/query";
import type { Agent, Agents, ConnectionLoss } from "../api/types";
import {
  formatAge,
  formatBytes,
  formatCount,
  formatDate,
  formatDuration,
  formatNumbered,
  formatReason,
  formatTime,
} from "../compute/format";
import { nonzero } from "../compute/losses";
import { Icon } from "../ui/icons";
import { Empty, Failed, Skeleton, Stale } from "../ui/notice";

export function AgentsView({ query }: { query: Query<Agents> }): JSX.Element {
  const { data, error, retry } = query;
  return (
    <div class="agents">
      <header class="list-head">
        <h1>Agents</h1>
        {data !== null && <span class="list-total">{formatCount(data.agents.length)}</span>}
      </header>
      {error !== null && data !== null && <Stale error={error} retry={retry} />}
      {data === null && error !== null && <Failed error={error} retry={retry} what="The agents" />}
      {data === null && error === null && <Skeleton lines={6} label="Loading agents" />}
      {data !== null && (
        <>
          {data.agents.length === 0 && (
            <Empty title="No agent has reported yet">
              <p>
                Start <code>spanhound-agent</code> on a host and point it at this collector;{" "}
                <code>spanhound-agent doctor</code> says what a host still needs.
              </p>
            </Empty>
          )}
          {data.agents.map((agent) => (
            <AgentCard key={agent.id} agent={agent} />
          ))}
          <CollectorCard collector={data.collector} />
        </>
      )}
    </div>
  );
}

function AgentCard({ agent }: { agent: Agent }): JSX.Element {
  const now_ms = Date.now();
  const problems = agent.hooks.filter((hook) => hook.problem !== null && hook.problem !== "").length;
  return (
    <section class="card" aria-label={`Agent ${agent.host_name}`}>
      <header class="card-head">
        <span class={`alive ${agent.alive ? "" : "alive-not"}`} aria-hidden="true" />
        <h2>{agent.host_name}</h2>
        <span class={agent.alive ? "faint" : "bad"}>
          {agent.alive ? "alive" : `silent for ${formatAge(now_ms - agent.last_seen_ms)}`}
        </span>
        <code class="faint card-id">{agent.id}</code>
      </header>
      <dl class="card-figures">
        <Item name="Version" value={agent.version} />
        <Item name="Kernel" value={agent.kernel_release} />
        <Item
          name="Started"
          value={`${formatDate(agent.started_ms)} ${formatTime(agent.started_ms, false)}`}
        />
        <Item name="Last seen" value={lastSeen(now_ms - agent.last_seen_ms)} />
        <Item name="Spans sent" value={formatCount(agent.spans)} />
        <Item name="Memory" value={formatBytes(agent.resident_bytes)} />
        <Item name="CPU used" value={formatDuration(agent.cpu_ms)} />
      </dl>
      <div class="card-columns">
        <div>
          <h3>Losses</h3>
          <Losses losses={agent.losses} />
          {agent.service_losses.length > 0 && (
            <table class="table">
              <caption>By service</caption>
              <thead>
                <tr>
                  <th>Service</th>
                  <th>Reason</th>
                  <th class="number">Count</th>
                </tr>
              </thead>
              <tbody>
                {agent.service_losses.map((loss) => (
                  <tr key={`${loss.service} ${loss.reason}`}>
                    <td>{loss.service}</td>
                    <td>{formatReason(loss.reason)}</td>
                    <td class="number bad">{formatCount(loss.count)}</td>
                  </tr>
                ))}
              </tbody>
            </table>
          )}
          {agent.connection_losses.length > 0 && <ConnectionLosses losses={agent.connection_losses} />}
          <Counters counters={agent.counters} />
        </div>
        <div>
          <h3>
            Hooks{" "}
            <span class="faint">
              {agent.hooks.length}
              {problems > 0 && `, ${problems} with a problem`}
            </span>
          </h3>
          <table class="table hooks">
            <thead>
              <tr>
                <th>Event</th>
                <th>Tier</th>
                <th>Problem</th>
              </tr>
            </thead>
            <tbody>
              {agent.hooks.map((hook) => (
                <tr key={hook.event} class={hook.tier === "" || hook.tier === "none" ? "row-failed" : ""}>
                  <td>{hook.event}</td>
                  <td>
                    <span class={`tier tier-${hook.tier || "none"}`}>{hook.tier || "none"}</span>
                  </td>
                  <td class={hook.problem ? "warn" : "faint"}>{hook.problem || "–"}</td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      </div>
    </section>
  );
}

function ConnectionLosses({ losses }: { losses: ConnectionLoss[] }): JSX.Element {
  return (
    <table class="table">
      <caption>By connection, of those that lost something last</caption>
      <thead>
        <tr>
          <th>When</th>
          <th>Connection</th>
          <th>Reason</th>
          <th class="number">Count</th>
        </tr>
      </thead>
      <tbody>
        {losses.toReversed().map((loss) => (
          <tr key={`${loss.local} ${loss.remote} ${loss.reason} ${loss.last_ms}`}>
            <td>{formatTime(loss.last_ms, false)}</td>
            <td>
              {loss.service}
              <br />
              <code class="faint">
                {loss.local || "?"} – {loss.remote || "?"}
              </code>
            </td>
            <td>{formatReason(loss.reason)}</td>
            <td class="number bad">{formatCount(loss.count)}</td>
          </tr>
        ))}
      </tbody>
    </table>
  );
}

function lastSeen(age_ms: number): string {
  const age = formatAge(age_ms);
  return age === "just now" ? age : `${age} ago`;
}

function Losses({ losses }: { losses: Record<string, number> }): JSX.Element {
  const lost = nonzero(losses);
  const zero = Object.keys(losses).length - lost.length;
  return (
    <>
      {lost.length === 0 && (
        <p class="no-losses">
          <Icon name="check" size={15} /> Nothing lost
          {zero > 0 && <span class="faint"> · {formatNumbered(zero, "place")} counted, all zero</span>}
        </p>
      )}
      {lost.length > 0 && (
        <ul class="losses">
          {lost.map((loss) => (
            <li key={loss.reason}>
              <span>{formatReason(loss.reason)}</span>
              <strong>{formatCount(loss.count)}</strong>
            </li>
          ))}
        </ul>
      )}
      {lost.length > 0 && zero > 0 && (
        <p class="faint">{formatNumbered(zero, "other place")} counted, all zero</p>
      )}
    </>
  );
}

function Counters({ counters }: { counters: Record<string, number> }): JSX.Element | null {
  const entries = Object.entries(counters).sort(([a], [b]) => (a < b ? -1 : 1));
  if (entries.length === 0) return null;
  return (
    <details class="counters">
      <summary>{formatNumbered(entries.length, "counter")}</summary>
      <dl class="facts">
        {entries.map(([name, count]) => (
          <div key={name}>
            <dt>{formatReason(name)}</dt>
            <dd class="number">{formatCount(count)}</dd>
          </div>
        ))}
      </dl>
    </details>
  );
}

function CollectorCard({ collector }: { collector: Agents["collector"] }): JSX.Element {
  return (
    <section class="card" aria-label="Collector">
      <header class="card-head">
        <Icon name="database" size={16} />
        <h2>Collector</h2>
      </header>
      <dl class="card-figures">
        <Item name="Spans stored" value={formatCount(collector.spans_stored)} />
        <Item name="Not yet in a segment" value={formatCount(collector.buffered_spans)} />
        <Item name="Segments" value={formatCount(collector.segments)} />
        <Item name="Store" value={formatBytes(collector.store_bytes)} />
      </dl>
      <h3>Losses</h3>
      <Losses losses={collector.losses} />
      <Counters counters={collector.counters} />
    </section>
  );
}

function Item({ name, value }: { name: string; value: string }): JSX.Element {
  return (
    <div>
      <dt>{name}</dt>
      <dd>{value}</dd>
    </div>
  );
}

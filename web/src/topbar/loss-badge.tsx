// Enters: what agents and collector say about losses. Leaves: one quiet badge on every view that turns loud when anything
// was lost or an agent is silent. Nothing is lost without being seen.
import type { JSX } from "preact";
import type { Query } from "../api/query";
import type { Agents } from "../api/types";
import { formatCompact, formatCount } from "../compute/format";
import { totalLost } from "../compute/losses";
import { useNavigation } from "../state/navigation";
import { Icon } from "../ui/icons";

interface Verdict {
  tone: "good" | "bad" | "unknown";
  short: string;
  long: string;
}

function verdict({ data, error }: Query<Agents>): Verdict | null {
  if (error !== null)
    return { tone: "unknown", short: "No status", long: `Losses unknown: ${error.message}` };
  if (data === null) return null;
  const lost = totalLost(data);
  const silent = data.agents.filter((agent) => !agent.alive).length;
  if (lost > 0) {
    return {
      tone: "bad",
      short: `${formatCompact(lost)} lost`,
      long: `${formatCount(lost)} events or spans were lost; see where and why`,
    };
  }
  if (data.agents.length === 0)
    return { tone: "unknown", short: "No agent", long: "No agent has reported yet" };
  if (silent > 0) {
    return {
      tone: "bad",
      short: `${silent} silent`,
      long: `${silent} of ${data.agents.length} agents do not report`,
    };
  }
  return { tone: "good", short: "No losses", long: `${data.agents.length} agents alive, nothing lost` };
}

export function LossBadge({ agents }: { agents: Query<Agents> }): JSX.Element | null {
  const { go, href } = useNavigation();
  const shown = verdict(agents);
  if (shown === null) return null;
  return (
    <a
      class={`loss-badge loss-${shown.tone}`}
      href={href({ view: "agents" })}
      title={shown.long}
      aria-label={shown.long}
      onClick={(event) => {
        if (event.metaKey || event.ctrlKey || event.shiftKey) return;
        event.preventDefault();
        go({ view: "agents" });
      }}
    >
      <Icon name={shown.tone === "good" ? "check" : "warning"} size={14} />
      <span>{shown.short}</span>
    </a>
  );
}

// Enters: the answer about agents and collector. Leaves: what was lost, where and why, largest first.
import type { Agents } from "../api/types";

export interface Loss {
  reason: string;
  count: number;
}

/** Those that are not zero, largest first. */
export function nonzero(losses: Record<string, number>): Loss[] {
  return Object.entries(losses)
    .filter(([, count]) => count !== 0)
    .map(([reason, count]) => ({ reason, count }))
    .sort((a, b) => b.count - a.count || (a.reason < b.reason ? -1 : 1));
}

/** All losses of all agents and of the collector. */
export function totalLost(answer: Agents): number {
  const parts = [...answer.agents.map((agent) => agent.losses), answer.collector.losses];
  return parts.reduce((sum, losses) => sum + nonzero(losses).reduce((all, loss) => all + loss.count, 0), 0);
}

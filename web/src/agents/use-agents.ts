// Enters: nothing. Leaves: agents, collector and their losses, asked for again every 15 seconds: every view shows whether
// something is being lost.
import { useEffect } from "preact/hooks";
import { type Query, useQuery } from "../api/query";
import type { Agents } from "../api/types";

const EVERY_MS = 15_000;

export function useAgents(): Query<Agents> {
  const query = useQuery<Agents>("agents", "agents");
  const { retry } = query;
  useEffect(() => {
    const timer = setInterval(() => {
      if (document.visibilityState === "visible") void retry();
    }, EVERY_MS);
    return () => clearInterval(timer);
  }, [retry]);
  return query;
}

// Enters: the address. Leaves: the top bar and the view the address names. The only file that knows all views.
import type { JSX } from "preact";
import { useEffect } from "preact/hooks";
import { AgentsView } from "./agents/agents-view";
import { useAgents } from "./agents/use-agents";
import { MapView } from "./map/map-view";
import { useClock } from "./state/clock";
import { NavigationContext, useHistory } from "./state/navigation";
import { TopBar } from "./topbar/topbar";
import { TraceView } from "./trace/trace-view";
import { TransactionsView } from "./transactions/transactions-view";

const TITLES = { map: "Server map", transactions: "Transactions", trace: "Trace", agents: "Agents" };

export function Page(): JSX.Element {
  const navigation = useHistory();
  const { address } = navigation;
  const clock = useClock(address.range);
  const agents = useAgents();

  useEffect(() => {
    const subject = address.service === null ? "" : ` · ${address.service}`;
    document.title = `${TITLES[address.view]}${subject} · Spanhound`;
  }, [address.view, address.service]);

  return (
    <NavigationContext.Provider value={navigation}>
      <a class="skip-link" href="#content">
        Skip to content
      </a>
      <TopBar clock={clock} agents={agents} />
      <main id="content" class={`view view-${address.view}`} tabIndex={-1}>
        {address.view === "map" && <MapView clock={clock} />}
        {address.view === "transactions" && <TransactionsView clock={clock} />}
        {address.view === "trace" && <TraceView />}
        {address.view === "agents" && <AgentsView query={agents} />}
      </main>
    </NavigationContext.Provider>
  );
}

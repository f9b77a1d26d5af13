// Enters: clock and agents. Leaves: the two rows over every view: where one is, and what range of which service is shown.
import type { JSX } from "preact";
import type { Query } from "../api/query";
import type { Agents } from "../api/types";
import { START, type View } from "../state/address";
import type { Clock } from "../state/clock";
import { useNavigation } from "../state/navigation";
import { Icon, type IconName } from "../ui/icons";
import { useTheme } from "../ui/theme";
import { LossBadge } from "./loss-badge";
import { RangePicker } from "./range-picker";
import { ServicePicker } from "./service-picker";
import { TraceSearch } from "./trace-search";

const VIEWS: { view: View; label: string; icon: IconName }[] = [
  { view: "map", label: "Server map", icon: "map" },
  { view: "transactions", label: "Transactions", icon: "list" },
  { view: "agents", label: "Agents", icon: "agent" },
];

const THEME_ICONS = { system: "contrast", light: "sun", dark: "moon" } as const;

export function TopBar({ clock, agents }: { clock: Clock; agents: Query<Agents> }): JSX.Element {
  const { address, go, href } = useNavigation();
  const [theme, nextTheme] = useTheme();
  const ranged = address.view === "map" || address.view === "transactions";

  const follow = (event: MouseEvent, view: View) => {
    if (event.metaKey || event.ctrlKey || event.shiftKey || event.button !== 0) return;
    event.preventDefault();
    go({ ...leaveList, view });
  };
  const leaveList = { selection: null, name: START.name, trace: null, span: null };

  return (
    <header class="topbar">
      <div class="topbar-row">
        <a
          class="brand"
          href={href({ ...START, range: address.range })}
          onClick={(event) => follow(event, "map")}
        >
          <svg width="22" height="22" viewBox="0 0 32 32" aria-hidden="true" class="brand-mark">
            <path d="M5 10h13M10 16h17M17 22h10" />
            <circle cx="7.5" cy="22" r="3" />
          </svg>
          <span class="brand-name">Spanhound</span>
        </a>
        <nav class="views" aria-label="Views">
          {VIEWS.map(({ view, label, icon }) => (
            <a
              key={view}
              href={href({ ...leaveList, view })}
              aria-current={address.view === view ? "page" : undefined}
              onClick={(event) => follow(event, view)}
            >
              <Icon name={icon} size={15} />
              <span>{label}</span>
            </a>
          ))}
        </nav>
        <div class="topbar-space" />
        <TraceSearch />
        <LossBadge agents={agents} />
        <button
          type="button"
          class="icon-button"
          onClick={nextTheme}
          title={`Theme: ${theme}`}
          aria-label={`Theme: ${theme}. Change`}
        >
          <Icon name={THEME_ICONS[theme]} />
        </button>
      </div>
      {ranged && (
        <div class="topbar-row topbar-controls">
          <ServicePicker clock={clock} />
          <RangePicker clock={clock} />
        </div>
      )}
    </header>
  );
}

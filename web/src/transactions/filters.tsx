// Enters: the address' selection. Leaves: it shown as chips, with the outcome and the name to narrow it further.
import type { JSX } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import { formatDuration, formatRange, formatTime } from "../compute/format";
import type { Selection } from "../compute/selection";
import type { Clock } from "../state/clock";
import { useNavigation } from "../state/navigation";
import { Icon } from "../ui/icons";

const TYPING_MS = 300;

export function durationWords({ min_duration_ms, max_duration_ms }: Selection): string | null {
  if (max_duration_ms === null) return min_duration_ms > 0 ? `over ${formatDuration(min_duration_ms)}` : null;
  if (min_duration_ms <= 0) return `up to ${formatDuration(max_duration_ms)}`;
  return `${formatDuration(min_duration_ms)} – ${formatDuration(max_duration_ms)}`;
}

export function Filters({ clock }: { clock: Clock }): JSX.Element {
  const { address, go, refine } = useNavigation();
  const { selection } = address;
  const whole: Selection = {
    from_ms: clock.from_ms,
    to_ms: clock.to_ms,
    min_duration_ms: 0,
    max_duration_ms: null,
    status: null,
  };
  const change = (part: Partial<Selection>) => go({ selection: { ...(selection ?? whole), ...part } });
  const durations = selection === null ? null : durationWords(selection);

  return (
    <div class="filters">
      <fieldset class="segments" aria-label="Outcome">
        {(
          [
            [null, "Any"],
            ["ok", "Success"],
            ["error", "Failed"],
          ] as const
        ).map(([status, label]) => (
          <button
            key={label}
            type="button"
            aria-pressed={(selection?.status ?? null) === status}
            onClick={() => change({ status })}
          >
            {label}
          </button>
        ))}
      </fieldset>
      <NameFilter name={address.name} change={(name) => refine({ name })} />
      {selection !== null && (
        <Chip
          label={timeWords(selection)}
          remove={() => go({ selection: null, trace: null, span: null })}
          what="time"
        />
      )}
      {durations !== null && (
        <Chip
          label={durations}
          remove={() => change({ min_duration_ms: 0, max_duration_ms: null })}
          what="duration"
        />
      )}
    </div>
  );
}

/** Below a minute the fraction matters. */
function timeWords({ from_ms, to_ms }: Selection): string {
  if (to_ms - from_ms >= 60_000) return formatRange(from_ms, to_ms);
  return `${formatTime(from_ms)} – ${formatTime(to_ms)}`;
}

function Chip({ label, remove, what }: { label: string; remove: () => void; what: string }): JSX.Element {
  return (
    <span class="chip">
      {label}
      <button
        type="button"
        title={`Remove the ${what} filter`}
        aria-label={`Remove the ${what} filter`}
        onClick={remove}
      >
        <Icon name="close" size={12} />
      </button>
    </span>
  );
}

/** Asks when the typing pauses, not at every letter. */
function NameFilter({ name, change }: { name: string; change: (name: string) => void }): JSX.Element {
  const [text, setText] = useState(name);
  const latest = useRef(change);
  latest.current = change;
  useEffect(() => setText(name), [name]);
  useEffect(() => {
    if (text === name) return;
    const timer = setTimeout(() => latest.current(text), TYPING_MS);
    return () => clearTimeout(timer);
  }, [text, name]);
  return (
    <label class="name-filter">
      <Icon name="search" size={14} />
      <input
        type="search"
        placeholder="Name contains"
        aria-label="Name contains"
        value={text}
        onInput={(event) => setText(event.currentTarget.value)}
      />
    </label>
  );
}

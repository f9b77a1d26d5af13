// Enters: the range shown. Leaves: another one: last 5 minutes to 2 days, live or not, or from and to by hand.
import type { JSX } from "preact";
import { formatRange } from "../compute/format";
import { type Range, SPANS_OF_TIME } from "../state/address";
import type { Clock } from "../state/clock";
import { useNavigation } from "../state/navigation";
import { useFromTo } from "../ui/field";
import { Icon } from "../ui/icons";
import { Popover } from "../ui/popover";

export function RangePicker({ clock }: { clock: Clock }): JSX.Element {
  const { address, go } = useNavigation();
  const { range } = address;
  const live = range.kind === "last" && range.live;
  const choose = (next: Range) => go({ range: next, selection: null, trace: null, span: null });

  return (
    <div class="range-picker">
      <fieldset class="segments" aria-label="Time range">
        {SPANS_OF_TIME.map((span) => (
          <button
            key={span.key}
            type="button"
            title={span.words}
            aria-label={span.words}
            aria-pressed={range.kind === "last" && range.key === span.key}
            onClick={() => {
              choose({ kind: "last", key: span.key, live });
              clock.refresh();
            }}
          >
            {span.label}
          </button>
        ))}
      </fieldset>
      <Popover
        title="From and to"
        buttonClass={`button ${range.kind === "custom" ? "button-on" : ""}`}
        label={
          <>
            <span class="range-shown">{formatRange(clock.from_ms, clock.to_ms)}</span>
            <span class="range-short">Custom</span>
            <Icon name="down" size={13} />
          </>
        }
        align="right"
      >
        {(close) => (
          <CustomRange
            clock={clock}
            apply={(next) => {
              choose(next);
              close();
            }}
          />
        )}
      </Popover>
      <button
        type="button"
        class="button live-button"
        aria-pressed={live}
        disabled={range.kind === "custom"}
        title={live ? "Live: follows the present. Pause" : "Follow the present"}
        onClick={() => range.kind === "last" && go({ range: { ...range, live: !live } })}
      >
        <span class="live-dot" aria-hidden="true" />
        Live
      </button>
      <button
        type="button"
        class="icon-button"
        title="Refresh"
        aria-label="Refresh"
        disabled={range.kind === "custom"}
        onClick={clock.refresh}
      >
        <Icon name="refresh" size={15} />
      </button>
    </div>
  );
}

function CustomRange({ clock, apply }: { clock: Clock; apply: (range: Range) => void }): JSX.Element {
  const { fields, times } = useFromTo(clock);
  return (
    <form
      class="custom-range"
      onSubmit={(event) => {
        event.preventDefault();
        if (times) apply({ kind: "custom", ...times });
      }}
    >
      {fields}
      <p class="form-hint" role="status">
        {times ? "Local time" : "The end must come after the start"}
      </p>
      <button type="submit" class="button button-main" disabled={times === null}>
        Show this range
      </button>
    </form>
  );
}

// Enters: the range shown. Leaves: a selection typed as numbers: what dragging a rectangle does, for the keyboard.
import type { JSX } from "preact";
import { useState } from "preact/hooks";
import { fromInputTime, toInputTime } from "../compute/format";
import type { Selection } from "../compute/selection";
import type { Clock } from "../state/clock";

export function ScatterForm({
  clock,
  list,
}: {
  clock: Clock;
  list: (selection: Selection) => void;
}): JSX.Element {
  const [from, setFrom] = useState(toInputTime(clock.from_ms));
  const [to, setTo] = useState(toInputTime(clock.to_ms));
  const [least, setLeast] = useState("");
  const [most, setMost] = useState("");
  const [status, setStatus] = useState("");
  const from_ms = fromInputTime(from);
  const to_ms = fromInputTime(to);
  const min = least === "" ? 0 : Number(least);
  const max = most === "" ? null : Number(most);
  const ready =
    from_ms !== null && to_ms !== null && from_ms < to_ms && min >= 0 && (max === null || max >= min);

  const submit = (event: Event) => {
    event.preventDefault();
    if (!ready) return;
    list({
      from_ms,
      to_ms,
      min_duration_ms: min,
      max_duration_ms: max,
      status: status === "ok" || status === "error" ? status : null,
    });
  };

  return (
    <form class="scatter-form" onSubmit={submit}>
      <label>
        <span>From</span>
        <input
          type="datetime-local"
          step="1"
          value={from}
          onInput={(event) => setFrom(event.currentTarget.value)}
        />
      </label>
      <label>
        <span>To</span>
        <input
          type="datetime-local"
          step="1"
          value={to}
          onInput={(event) => setTo(event.currentTarget.value)}
        />
      </label>
      <label>
        <span>At least, ms</span>
        <input
          type="number"
          min="0"
          step="any"
          placeholder="0"
          value={least}
          onInput={(event) => setLeast(event.currentTarget.value)}
        />
      </label>
      <label>
        <span>At most, ms</span>
        <input
          type="number"
          min="0"
          step="any"
          placeholder="no bound"
          value={most}
          onInput={(event) => setMost(event.currentTarget.value)}
        />
      </label>
      <label>
        <span>Outcome</span>
        <select value={status} onChange={(event) => setStatus(event.currentTarget.value)}>
          <option value="">Any</option>
          <option value="ok">Success</option>
          <option value="error">Failed</option>
        </select>
      </label>
      <button type="submit" class="button button-main" disabled={!ready}>
        List transactions
      </button>
    </form>
  );
}

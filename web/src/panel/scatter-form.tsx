// Enters: the range shown. Leaves: a selection typed as numbers: what dragging a rectangle does, for the keyboard.
import type { JSX } from "preact";
import { useState } from "preact/hooks";
import type { Selection } from "../compute/selection";
import type { Clock } from "../state/clock";
import { Field, useFromTo } from "../ui/field";

export function ScatterForm({
  clock,
  list,
}: {
  clock: Clock;
  list: (selection: Selection) => void;
}): JSX.Element {
  const { fields, times } = useFromTo(clock);
  const [least, setLeast] = useState("");
  const [most, setMost] = useState("");
  const [status, setStatus] = useState("");
  const min = least === "" ? 0 : Number(least);
  const max = most === "" ? null : Number(most);
  const selected = min >= 0 && (max === null || max >= min) ? times : null;

  const submit = (event: Event) => {
    event.preventDefault();
    if (selected === null) return;
    list({
      ...selected,
      min_duration_ms: min,
      max_duration_ms: max,
      status: status === "ok" || status === "error" ? status : null,
    });
  };

  return (
    <form class="scatter-form" onSubmit={submit}>
      {fields}
      <Field
        label="At least, ms"
        type="number"
        min="0"
        step="any"
        placeholder="0"
        value={least}
        set={setLeast}
      />
      <Field
        label="At most, ms"
        type="number"
        min="0"
        step="any"
        placeholder="no bound"
        value={most}
        set={setMost}
      />
      <label>
        <span>Outcome</span>
        <select value={status} onChange={(event) => setStatus(event.currentTarget.value)}>
          <option value="">Any</option>
          <option value="ok">Success</option>
          <option value="error">Failed</option>
        </select>
      </label>
      <button type="submit" class="button button-main" disabled={selected === null}>
        List transactions
      </button>
    </form>
  );
}

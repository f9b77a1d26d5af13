// Enters: labels and what is typed. Leaves: the text, and for a from and a to the times they mean.
import type { JSX } from "preact";
import { useState } from "preact/hooks";
import { fromInputTime, toInputTime } from "../compute/format";

export function Field({
  label,
  value,
  set,
  ...input
}: {
  label: string;
  value: string;
  set: (text: string) => void;
  type: "number" | "datetime-local";
  step: string;
  min?: string;
  placeholder?: string;
}): JSX.Element {
  return (
    <label>
      <span>{label}</span>
      <input {...input} value={value} onInput={(event) => set(event.currentTarget.value)} />
    </label>
  );
}

/** A from and a to, typed in local time. `times` is null unless both are times and the end comes after the start. */
export function useFromTo(clock: { from_ms: number; to_ms: number }): {
  fields: JSX.Element;
  times: { from_ms: number; to_ms: number } | null;
} {
  const [from, setFrom] = useState(toInputTime(clock.from_ms));
  const [to, setTo] = useState(toInputTime(clock.to_ms));
  const from_ms = fromInputTime(from);
  const to_ms = fromInputTime(to);
  const fields = (
    <>
      <Field label="From" type="datetime-local" step="1" value={from} set={setFrom} />
      <Field label="To" type="datetime-local" step="1" value={to} set={setTo} />
    </>
  );
  const times = from_ms !== null && to_ms !== null && from_ms < to_ms ? { from_ms, to_ms } : null;
  return { fields, times };
}

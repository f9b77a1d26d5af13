// Enters: a text. Leaves: a button that puts it on the clipboard and says so.
import type { JSX } from "preact";
import { useEffect, useState } from "preact/hooks";
import { Icon } from "./icons";

export function CopyButton({ text, what }: { text: string; what: string }): JSX.Element {
  const [outcome, setOutcome] = useState<"copied" | "refused" | null>(null);
  useEffect(() => {
    if (outcome === null) return;
    const timer = setTimeout(() => setOutcome(null), 1600);
    return () => clearTimeout(timer);
  }, [outcome]);
  const copy = async () => {
    try {
      // Absent on pages served without TLS from another host.
      await navigator.clipboard.writeText(text);
      setOutcome("copied");
    } catch {
      setOutcome("refused");
    }
  };
  return (
    <button
      type="button"
      class="icon-button"
      title={`Copy ${what}`}
      aria-label={`Copy ${what}`}
      onClick={copy}
    >
      <Icon name={outcome === "copied" ? "check" : "copy"} size={14} />
      <span class="visually-hidden" role="status">
        {outcome === "copied" ? "Copied" : outcome === "refused" ? "The browser refused the clipboard" : ""}
      </span>
    </button>
  );
}

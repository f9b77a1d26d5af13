// Enters: a trace id, typed or pasted. Leaves: its call tree.
import type { JSX } from "preact";
import { useState } from "preact/hooks";
import { useNavigation } from "../state/navigation";
import { Icon } from "../ui/icons";

/** The id in whatever was pasted: bare, in upper case, or inside a traceparent header. */
export function traceIdIn(text: string): string | null {
  return text.toLowerCase().match(/(?<![0-9a-f])[0-9a-f]{32}(?![0-9a-f])/)?.[0] ?? null;
}

export function TraceSearch(): JSX.Element {
  const { go } = useNavigation();
  const [text, setText] = useState("");
  const id = traceIdIn(text);
  const wrong = text.trim() !== "" && id === null;
  const submit = (event: Event) => {
    event.preventDefault();
    if (id === null) return;
    go({ view: "trace", trace: id, span: null });
    setText("");
  };
  return (
    <search class="trace-search">
      <form onSubmit={submit}>
        <Icon name="search" size={14} />
        <input
          type="text"
          placeholder="Trace id"
          aria-label="Open a trace by its id (32 hex digits), then Enter"
          aria-invalid={wrong}
          spellcheck={false}
          autocomplete="off"
          value={text}
          onInput={(event) => setText(event.currentTarget.value)}
        />
        {wrong && (
          <span class="trace-search-hint" role="status">
            A trace id has 32 hex digits
          </span>
        )}
      </form>
    </search>
  );
}

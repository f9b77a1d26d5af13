// Enters: one span. Leaves: everything known about it: times, link, peer, bytes, status, error and all attributes.
import type { ComponentChildren, JSX } from "preact";
import { useEffect, useRef } from "preact/hooks";
import type { Span } from "../api/types";
import { formatBytes, formatDate, formatDuration, formatTime } from "../compute/format";
import { ancestors, problemOf, spanTitle } from "../compute/tree";
import { CopyButton } from "../ui/copy-button";
import { Icon } from "../ui/icons";
import { LinkBadge, linkWords } from "./link-badge";

export function attributeText(value: unknown): string {
  return typeof value === "string" ? value : JSON.stringify(value);
}

export function SpanDrawer({
  span,
  spans,
  close,
}: {
  span: Span;
  spans: Span[];
  close: () => void;
}): JSX.Element {
  const isRoot = span.parent_span_id === null && spans[0]?.span_id === span.span_id;
  const problem = problemOf(span);
  const path = ancestors(spans, span.span_id);
  const root = useRef<HTMLElement>(null);
  // biome-ignore lint/correctness/useExhaustiveDependencies: another span starts at the top
  useEffect(() => {
    if (root.current !== null) root.current.scrollTop = 0;
  }, [span.span_id]);

  const closeAndReturn = () => {
    close();
    document.querySelector<HTMLElement>(`.tree-scroll [data-span="${CSS.escape(span.span_id)}"]`)?.focus();
  };

  return (
    <aside
      class="drawer"
      aria-label="Span"
      ref={root}
      onKeyDown={(event) => event.key === "Escape" && closeAndReturn()}
    >
      <header class="drawer-head">
        <div>
          <p class="drawer-path">
            {path
              .map((parent) => parent.service)
              .filter(isNew)
              .join(" › ")}
          </p>
          <h3>{spanTitle(span)}</h3>
        </div>
        <button
          type="button"
          class="icon-button"
          aria-label="Close the span"
          title="Close"
          onClick={closeAndReturn}
        >
          <Icon name="close" />
        </button>
      </header>
      {problem !== "" && (
        <p class="drawer-error">
          <Icon name="warning" size={14} />
          <span>{problem}</span>
        </p>
      )}
      <p class="drawer-link">
        <LinkBadge link={span.link} isRoot={isRoot} /> {linkWords(span.link, isRoot)}
      </p>
      <dl class="facts">
        <Fact name="Service">{span.service}</Fact>
        <Fact name="Instance">{span.instance}</Fact>
        <Fact name="Host">{span.host_name}</Fact>
        <Fact name="Side">{span.kind}</Fact>
        <Fact name="Protocol">{span.protocol}</Fact>
        <Fact name="Operation">{span.operation}</Fact>
        <Fact name="Target">
          <span class="code">{span.target}</span>
        </Fact>
        <Fact name="Status">
          <span class={span.error ? "bad" : ""}>
            {span.status_text || (span.status === "unset" ? "" : span.status)}
          </span>
        </Fact>
        <Fact name="Peer">{span.peer ?? ""}</Fact>
        <Fact name="Start">
          {formatDate(span.start_ms)} {formatTime(span.start_ms)}
        </Fact>
        <Fact name="Offset">{formatDuration(span.offset_ms)}</Fact>
        <Fact name="Clock">
          {span.skew_ms !== 0 && `moved by ${formatDuration(span.skew_ms)}: this host's clock differs`}
        </Fact>
        <Fact name="Exec">{formatDuration(span.duration_ms)}</Fact>
        <Fact name="Self">{formatDuration(span.self_ms)}</Fact>
        <Fact name="Request">{formatBytes(span.request_bytes)}</Fact>
        <Fact name="Response">{formatBytes(span.response_bytes)}</Fact>
        <Fact name="Span id">
          <span class="code">{span.span_id}</span> <CopyButton text={span.span_id} what="the span id" />
        </Fact>
        <Fact name="Parent id">
          {span.parent_span_id !== null && <span class="code">{span.parent_span_id}</span>}
        </Fact>
      </dl>
      <h4>Attributes</h4>
      <dl class="facts attributes">
        {Object.entries(span.attributes)
          .sort(([a], [b]) => (a < b ? -1 : 1))
          .map(([name, value]) => (
            <Fact key={name} name={name}>
              <span class="code">{attributeText(value)}</span>
            </Fact>
          ))}
      </dl>
      {Object.keys(span.attributes).length === 0 && <p class="faint">None</p>}
    </aside>
  );
}

function isNew(service: string, index: number, all: string[]): boolean {
  return all[index - 1] !== service;
}

/** Left out when there is nothing to say. */
function Fact({ name, children }: { name: string; children: ComponentChildren }): JSX.Element | null {
  if (children === "" || children === false) return null;
  return (
    <div>
      <dt>{name}</dt>
      <dd>{children}</dd>
    </div>
  );
}

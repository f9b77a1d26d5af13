// Enters: a trace id and the span that led here. Leaves: the trace's head, its call tree or timeline, and the drawer of the
// span looked at.
import type { JSX } from "preact";
import { useEffect, useMemo, useState } from "preact/hooks";
import { useQuery } from "../api/query";
import type { Span, Trace } from "../api/types";
import { formatCount, formatDate, formatDuration, formatTime } from "../compute/format";
import { linkCounts, spanTitle } from "../compute/tree";
import { useNavigation } from "../state/navigation";
import { CopyButton } from "../ui/copy-button";
import { Icon } from "../ui/icons";
import { Empty, Failed, Skeleton } from "../ui/notice";
import { CallTree } from "./call-tree";
import { SpanDrawer } from "./span-drawer";
import { Timeline } from "./timeline";

export function TraceDetail({
  traceId,
  spanId,
  close,
}: {
  traceId: string;
  spanId: string | null;
  close: () => void;
}): JSX.Element {
  const { address, refine } = useNavigation();
  const query = useQuery<Trace>(`traces/${traceId}`, traceId);
  const [folded, setFolded] = useState<ReadonlySet<string>>(new Set());
  const [opened, setOpened] = useState<string | null>(null);
  const trace = query.data;
  // biome-ignore lint/correctness/useExhaustiveDependencies: another trace starts unfolded, its drawer closed
  useEffect(() => {
    setFolded(new Set());
    setOpened(null);
  }, [traceId]);

  const span = trace?.spans.find((candidate) => candidate.span_id === opened) ?? null;
  const fold = (id: string, isFolded: boolean) => {
    const next = new Set(folded);
    if (isFolded) next.add(id);
    else next.delete(id);
    setFolded(next);
  };

  return (
    <section class="trace" aria-label="Trace" aria-busy={query.busy}>
      {trace === null && query.error === null && <Skeleton lines={8} label="Loading the trace" />}
      {query.error !== null && <Failed error={query.error} retry={query.retry} what="The trace" />}
      {query.error !== null && (
        <p class="notice-actions">
          <button type="button" class="button" onClick={close}>
            <Icon name="left" size={14} /> Back
          </button>
        </p>
      )}
      {trace !== null && trace.spans.length === 0 && (
        <Empty title="The trace has no spans">
          <p>They may have passed the end of their retention.</p>
        </Empty>
      )}
      {trace !== null && trace.spans.length > 0 && (
        <>
          <TraceHead trace={trace} close={close} />
          <div class="trace-tabs">
            <fieldset class="segments" aria-label="Show the trace as">
              <button
                type="button"
                aria-pressed={address.tab === "tree"}
                onClick={() => refine({ tab: "tree" })}
              >
                Call tree
              </button>
              <button
                type="button"
                aria-pressed={address.tab === "timeline"}
                onClick={() => refine({ tab: "timeline" })}
              >
                Timeline
              </button>
            </fieldset>
            <button
              type="button"
              class="link-button"
              onClick={() => setFolded(folded.size > 0 ? new Set() : foldable(trace.spans))}
            >
              {folded.size > 0 ? "Unfold all" : "Fold all"}
            </button>
          </div>
          <div class={`trace-body ${span === null ? "" : "trace-body-drawer"}`}>
            {address.tab === "tree" ? (
              <CallTree
                trace={trace}
                folded={folded}
                fold={fold}
                ledHere={spanId}
                opened={opened}
                open={setOpened}
              />
            ) : (
              <Timeline
                trace={trace}
                folded={folded}
                fold={fold}
                ledHere={spanId}
                opened={opened}
                open={setOpened}
              />
            )}
            {span !== null && <SpanDrawer span={span} spans={trace.spans} close={() => setOpened(null)} />}
          </div>
        </>
      )}
    </section>
  );
}

function foldable(spans: Span[]): Set<string> {
  return new Set(
    spans.filter((span, index) => (spans[index + 1]?.depth ?? -1) > span.depth).map((span) => span.span_id),
  );
}

function TraceHead({ trace, close }: { trace: Trace; close: () => void }): JSX.Element {
  const root = trace.spans[0];
  const links = useMemo(() => linkCounts(trace.spans), [trace]);
  return (
    <header class="trace-head">
      <button
        type="button"
        class="icon-button"
        title="Close the trace"
        aria-label="Close the trace"
        onClick={close}
      >
        <Icon name="left" />
      </button>
      <div class="trace-title">
        <h2>{root === undefined ? "Trace" : spanTitle(root)}</h2>
        <p>
          <code class="trace-id-full">{trace.trace_id}</code>
          <CopyButton text={trace.trace_id} what="the trace id" />
        </p>
      </div>
      <dl class="trace-figures">
        <Fact name="Start" value={`${formatDate(trace.start_ms)} ${formatTime(trace.start_ms)}`} />
        <Fact name="Total" value={formatDuration(trace.duration_ms)} strong />
        <Fact name="Spans" value={formatCount(trace.span_count)} />
        <Fact name="Services" value={String(trace.services.length)} title={trace.services.join(", ")} />
        {links.errors > 0 && <Fact name="Failed" value={formatCount(links.errors)} bad />}
        {links.inferred > 0 && <Fact name="Inferred links" value={formatCount(links.inferred)} />}
        <div>
          <dt>Trace</dt>
          <dd>
            {trace.truncated && (
              <span class="badge badge-warn" title="The API answers with no more spans of one trace">
                first {formatCount(trace.spans.length)} shown
              </span>
            )}{" "}
            {trace.complete ? (
              <span class="badge badge-exact" title="Every span hangs below the one root">
                complete
              </span>
            ) : (
              <span class="badge badge-warn" title="Some span's parent is not known or not stored">
                incomplete
              </span>
            )}
          </dd>
        </div>
      </dl>
    </header>
  );
}

function Fact({
  name,
  value,
  title,
  strong,
  bad,
}: {
  name: string;
  value: string;
  title?: string;
  strong?: boolean;
  bad?: boolean;
}): JSX.Element {
  return (
    <div title={title} data-fact={name.toLowerCase()}>
      <dt>{name}</dt>
      <dd class={`${strong === true ? "strong" : ""} ${bad === true ? "bad" : ""}`}>{value}</dd>
    </div>
  );
}

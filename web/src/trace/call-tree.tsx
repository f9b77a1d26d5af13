// Enters: a trace. Leaves: its call tree as Pinpoint shows it, one row a span: what was called, when it started, the gap before
// it, how long it took of the whole and by itself, where it ran, and how its parent is known.
import type { JSX } from "preact";
import { useMemo, useRef } from "preact/hooks";
import type { Trace } from "../api/types";
import { formatMs } from "../compute/format";
import { isEntry, problemOf, spanDetail, spanTitle, type TreeRow, visibleRows } from "../compute/tree";
import { Icon } from "../ui/icons";
import { useRows } from "../ui/rows";
import { LinkBadge } from "./link-badge";
import { useTreeKeys } from "./tree-keys";

export interface TreeProps {
  trace: Trace;
  folded: ReadonlySet<string>;
  fold: (id: string, isFolded: boolean) => void;
  /** The span of the list's row, marked in the tree. */
  ledHere: string | null;
  opened: string | null;
  open: (id: string | null) => void;
}

export const ROW_PX = 28;

export function CallTree({ trace, folded, fold, ledHere, opened, open }: TreeProps): JSX.Element {
  const scroller = useRef<HTMLDivElement>(null);
  const rows = useMemo(() => visibleRows(trace.spans, folded), [trace, folded]);
  const slice = useRows(scroller, rows.length, ROW_PX);
  const keys = useTreeKeys(scroller, rows, ROW_PX, fold, open);

  return (
    <div class="tree-scroll" ref={scroller}>
      {/* biome-ignore lint/a11y/noNoninteractiveElementToInteractiveRole: a tree grid is a table with keys */}
      <table class="table call-tree" role="treegrid" aria-label="Call tree" aria-rowcount={rows.length}>
        <thead>
          <tr>
            <th class="col-method">Method / statement</th>
            <th class="number col-start" title="From the start of the trace">
              Start ms
            </th>
            <th class="number col-gap" title="From the start of the parent or the end of the span before">
              Gap ms
            </th>
            <th class="number col-exec">Exec ms</th>
            <th class="col-percent" title="Of the whole trace">
              Exec %
            </th>
            <th class="number col-self" title="Not covered by its own calls">
              Self ms
            </th>
            <th class="col-service">Service</th>
            <th class="col-instance">Instance</th>
            <th class="col-link">Link</th>
          </tr>
        </thead>
        <tbody onKeyDown={keys.onKeyDown}>
          {slice.above_px > 0 && <tr style={{ height: `${slice.above_px}px` }} />}
          {rows.slice(slice.first, slice.end).map((row, index) => (
            <Row
              key={row.span.span_id}
              row={row}
              rowNumber={slice.first + index + 1}
              tabStop={keys.tabStop === row.span.span_id}
              ledHere={ledHere === row.span.span_id}
              opened={opened === row.span.span_id}
              fold={fold}
              open={open}
              focus={keys.onFocus}
            />
          ))}
          {slice.below_px > 0 && <tr style={{ height: `${slice.below_px}px` }} />}
        </tbody>
      </table>
    </div>
  );
}

function Row({
  row,
  rowNumber,
  tabStop,
  ledHere,
  opened,
  fold,
  open,
  focus,
}: {
  row: TreeRow;
  rowNumber: number;
  tabStop: boolean;
  ledHere: boolean;
  opened: boolean;
  fold: (id: string, isFolded: boolean) => void;
  open: (id: string | null) => void;
  focus: (id: string) => void;
}): JSX.Element {
  const { span } = row;
  const state = `${span.error ? "row-failed" : ""} ${ledHere ? "row-led-here" : ""}`;
  return (
    <tr
      class={state}
      data-span={span.span_id}
      tabIndex={tabStop ? 0 : -1}
      aria-level={span.depth + 1}
      aria-rowindex={rowNumber}
      aria-expanded={row.hasChildren ? !row.folded : undefined}
      aria-selected={opened}
      onFocus={() => focus(span.span_id)}
      onClick={() => open(span.span_id)}
    >
      <td class="col-method">
        <MethodCell row={row} fold={fold} />
      </td>
      <td class="number col-start">{formatMs(span.offset_ms)}</td>
      <td class="number col-gap">{formatMs(span.gap_ms)}</td>
      <td class="number col-exec">{formatMs(span.duration_ms)}</td>
      <td class="col-percent">
        <span class="percent" title={`${span.percent.toFixed(1)}% of the trace`}>
          <span class="percent-bar" style={{ width: `${Math.min(100, Math.max(0, span.percent))}%` }} />
          <span class="percent-self" style={{ width: `${selfPercent(span)}%` }} />
        </span>
        <span class="percent-value">{span.percent.toFixed(0)}</span>
      </td>
      <td class="number col-self">{formatMs(span.self_ms)}</td>
      <td class="col-service">{span.service}</td>
      <td class="col-instance faint" title={span.instance}>
        {span.instance}
      </td>
      <td class="col-link">
        <LinkBadge link={span.link} isRoot={span.parent_span_id === null && row.index === 0} />
      </td>
    </tr>
  );
}

function selfPercent(span: { percent: number; self_ms: number; duration_ms: number }): number {
  return span.duration_ms <= 0
    ? 0
    : Math.min(100, Math.max(0, (span.percent * span.self_ms) / span.duration_ms));
}

/** Indent, fold mark, what was called; shared with the timeline. */
export function MethodCell({
  row,
  fold,
}: {
  row: TreeRow;
  fold: (id: string, isFolded: boolean) => void;
}): JSX.Element {
  const { span } = row;
  const problem = problemOf(span);
  return (
    <span class="method" style={{ "--depth": String(Math.min(span.depth, 40)) }}>
      {row.hasChildren ? (
        <button
          type="button"
          class={`fold ${row.folded ? "fold-closed" : ""}`}
          tabIndex={-1}
          aria-label={row.folded ? "Unfold" : "Fold"}
          onClick={(event) => {
            event.stopPropagation();
            fold(span.span_id, !row.folded);
          }}
        >
          <Icon name="down" size={13} />
        </button>
      ) : (
        <span class="fold" />
      )}
      {span.error && (
        <span class="failed-mark" title={problem}>
          <Icon name="warning" size={13} />
          <span class="visually-hidden">Failed: </span>
        </span>
      )}
      <span class="protocol">{isEntry(span) ? span.protocol : `→ ${span.protocol}`}</span>
      <span
        class={`method-name ${isEntry(span) ? "method-server" : ""}`}
        title={`${spanTitle(span)} ${spanDetail(span)}`}
      >
        {spanTitle(span)} <span class="faint">{spanDetail(span)}</span>
      </span>
      {problem !== "" && <span class="method-error">{problem}</span>}
    </span>
  );
}

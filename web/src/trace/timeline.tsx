// Enters: a trace. Leaves: its spans as bars over the trace's time, in the call tree's order, coloured by
// service.
import type { JSX } from "preact";
import { useMemo, useRef } from "preact/hooks";
import { elapsedTicks } from "../compute/axis";
import { formatDuration, formatMs } from "../compute/format";
import { spanTitle, timelineBar, visibleRows } from "../compute/tree";
import { useRows } from "../ui/rows";
import { useSize } from "../ui/size";
import { MethodCell, ROW_PX, type TreeProps } from "./call-tree";
import { useTreeKeys } from "./tree-keys";

/** One hue a service, in the order of their first appearance; after eight they repeat. */
export function serviceHue(services: string[], service: string): number {
  return Math.max(0, services.indexOf(service)) % 8;
}

/** As the style sheet divides the table. */
const LANE_SHARE = 0.45;

export function Timeline({ trace, folded, fold, ledHere, opened, open }: TreeProps): JSX.Element {
  const scroller = useRef<HTMLDivElement>(null);
  const { width } = useSize(scroller);
  const rows = useMemo(() => visibleRows(trace.spans, folded), [trace, folded]);
  const slice = useRows(scroller, rows.length, ROW_PX);
  const keys = useTreeKeys(scroller, rows, ROW_PX, fold, open);
  const services = useMemo(() => [...new Set(trace.spans.map((span) => span.service))], [trace]);
  const ticks = elapsedTicks(trace.duration_ms, width * LANE_SHARE);

  return (
    <div class="tree-scroll" ref={scroller}>
      {/* biome-ignore lint/a11y/noNoninteractiveElementToInteractiveRole: a tree grid is a table with keys */}
      <table class="table timeline" role="treegrid" aria-label="Timeline" aria-rowcount={rows.length}>
        <thead>
          <tr>
            <th class="col-method">Method / statement</th>
            <th class="col-lane">
              <span class="lane-ticks">
                {ticks
                  .filter((tick) => tick.at < 0.93)
                  .map((tick) => (
                    <span key={tick.label} style={{ left: `${tick.at * 100}%` }}>
                      {tick.label}
                    </span>
                  ))}
              </span>
            </th>
            <th class="number col-exec">Exec ms</th>
            <th class="col-service">Service</th>
          </tr>
        </thead>
        <tbody onKeyDown={keys.onKeyDown}>
          {slice.above_px > 0 && <tr style={{ height: `${slice.above_px}px` }} />}
          {rows.slice(slice.first, slice.end).map((row) => {
            const { span } = row;
            const bar = timelineBar(span, trace.duration_ms);
            return (
              <tr
                key={span.span_id}
                class={`${span.error ? "row-failed" : ""} ${ledHere === span.span_id ? "row-led-here" : ""}`}
                data-span={span.span_id}
                tabIndex={keys.tabStop === span.span_id ? 0 : -1}
                aria-level={span.depth + 1}
                aria-expanded={row.hasChildren ? !row.folded : undefined}
                aria-selected={opened === span.span_id}
                onFocus={() => keys.onFocus(span.span_id)}
                onClick={() => open(span.span_id)}
              >
                <td class="col-method">
                  <MethodCell row={row} fold={fold} />
                </td>
                <td class="col-lane">
                  <span class="lane">
                    {ticks.map((tick) => (
                      <i key={tick.label} class="lane-line" style={{ left: `${tick.at * 100}%` }} />
                    ))}
                    <span
                      class={`lane-bar hue-${serviceHue(services, span.service)} ${span.error ? "lane-bar-failed" : ""}`}
                      style={{ left: `${bar.start * 100}%`, width: `${bar.length * 100}%` }}
                      title={`${spanTitle(span)} · ${span.service} · ${formatDuration(span.duration_ms)}`}
                    />
                  </span>
                </td>
                <td class="number col-exec">{formatMs(span.duration_ms)}</td>
                <td class="col-service">
                  <i class={`dot hue-${serviceHue(services, span.service)}`} aria-hidden="true" />{" "}
                  {span.service}
                </td>
              </tr>
            );
          })}
          {slice.below_px > 0 && <tr style={{ height: `${slice.below_px}px` }} />}
        </tbody>
      </table>
    </div>
  );
}

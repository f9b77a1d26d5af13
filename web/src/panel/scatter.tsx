// Enters: the scatter's answer for one node or edge. Leaves: the chart with its axis settings and legend; a rectangle, dragged
// or typed, leads to the transactions inside it.
import type { JSX } from "preact";
import { useState } from "preact/hooks";
import type { Query } from "../api/query";
import type { Scatter } from "../api/types";
import { automaticTop, type DurationScale } from "../compute/axis";
import { formatCount } from "../compute/format";
import type { Selection } from "../compute/selection";
import type { Clock } from "../state/clock";
import { useNavigation } from "../state/navigation";
import { Icon } from "../ui/icons";
import { Empty, Failed, Skeleton, Stale } from "../ui/notice";
import { Popover } from "../ui/popover";
import { useStored } from "../ui/stored";
import { ScatterForm } from "./scatter-form";
import { ScatterPlot } from "./scatter-plot";

export interface Shown {
  ok: boolean;
  failed: boolean;
}

interface AxisSetting {
  scale: DurationScale;
  /** null: chosen from the points. */
  top_ms: number | null;
}

function isAxisSetting(value: unknown): value is AxisSetting {
  if (typeof value !== "object" || value === null) return false;
  const { scale, top_ms } = value as Partial<AxisSetting>;
  return (
    (scale === "linear" || scale === "log") && (top_ms === null || (typeof top_ms === "number" && top_ms > 0))
  );
}

const TOPS_MS = [100, 500, 1000, 5000, 10_000, 30_000];

export function ScatterSection({
  query,
  clock,
  which,
}: {
  query: Query<Scatter>;
  clock: Clock;
  which: { node?: string | undefined; edge?: string | undefined };
}): JSX.Element {
  const { address, go } = useNavigation();
  const [axis, setAxis] = useStored<AxisSetting>(
    "scatter-axis",
    { scale: "linear", top_ms: null },
    isAxisSetting,
  );
  const [shown, setShown] = useState<Shown>({ ok: true, failed: true });
  const scatter = query.data;
  const points = scatter?.points ?? [];
  const failed = points.reduce((sum, point) => sum + point[2], 0);
  const top_ms = axis.top_ms ?? automaticTop(points);

  const list = (selection: Selection) =>
    go({
      view: "transactions",
      selection,
      node: which.edge === undefined ? (which.node ?? null) : null,
      edge: which.edge ?? null,
      name: "",
      trace: null,
      span: null,
    });

  const toggle = (which: keyof Shown) => {
    const next = { ...shown, [which]: !shown[which] };
    setShown(next.ok || next.failed ? next : { ok: which === "failed", failed: which === "ok" });
  };

  return (
    <section class="panel-section scatter" aria-labelledby="scatter-title" aria-busy={query.busy}>
      <div class="section-head">
        <h3 id="scatter-title">Scatter</h3>
        <div class="scatter-legend">
          <LegendToggle
            mark="ok"
            name="Success"
            count={points.length - failed}
            on={shown.ok}
            toggle={() => toggle("ok")}
          />
          <LegendToggle
            mark="failed"
            name="Failed"
            count={failed}
            on={shown.failed}
            toggle={() => toggle("failed")}
          />
        </div>
        <div class="section-tools">
          <Popover
            title="Axis settings"
            buttonClass="icon-button"
            align="right"
            label={<Icon name="sliders" size={15} />}
          >
            {() => <AxisForm axis={axis} setAxis={setAxis} />}
          </Popover>
          <Popover
            title="Select by numbers"
            buttonClass="icon-button"
            align="right"
            label={<Icon name="marquee" size={15} />}
          >
            {() => <ScatterForm clock={clock} list={list} />}
          </Popover>
        </div>
      </div>
      {query.error !== null && scatter !== null && <Stale error={query.error} retry={query.retry} />}
      {scatter === null && query.error !== null && (
        <Failed error={query.error} retry={query.retry} what="The scatter" />
      )}
      {scatter === null && query.error === null && <Skeleton lines={6} label="Loading the scatter" />}
      {scatter !== null && points.length === 0 && (
        <Empty title="No transactions of its own">
          <p>Nothing with a duration was seen here in this range.</p>
        </Empty>
      )}
      {scatter !== null && points.length > 0 && (
        <>
          <ScatterPlot
            scatter={scatter}
            from_ms={clock.from_ms}
            to_ms={clock.to_ms}
            scale={axis.scale}
            top_ms={top_ms}
            shown={shown}
            select={list}
            open={(trace, span) => go({ view: "trace", trace, span })}
          />
          <p class="chart-note">
            <span class="faint">
              {scatter.sampled
                ? `${formatCount(points.length)} of ${formatCount(scatter.total)} drawn, failed and slowest first; a selection lists all`
                : "Drag a rectangle to list its transactions"}
            </span>
            <button
              type="button"
              class="link-button"
              onClick={() =>
                list({
                  from_ms: clock.from_ms,
                  to_ms: clock.to_ms,
                  min_duration_ms: 0,
                  max_duration_ms: null,
                  status: address.selection?.status ?? null,
                })
              }
            >
              List all {formatCount(scatter.total)}
            </button>
          </p>
        </>
      )}
    </section>
  );
}

function LegendToggle({
  mark,
  name,
  count,
  on,
  toggle,
}: {
  mark: "ok" | "failed";
  name: string;
  count: number;
  on: boolean;
  toggle: () => void;
}): JSX.Element {
  return (
    <button
      type="button"
      class="legend-toggle"
      aria-pressed={on}
      title={`Show or hide: ${name}`}
      onClick={toggle}
    >
      <span class={`legend-mark legend-${mark}`} aria-hidden="true" />
      {name} <span class="legend-count">{formatCount(count)}</span>
    </button>
  );
}

function AxisForm({
  axis,
  setAxis,
}: {
  axis: AxisSetting;
  setAxis: (axis: AxisSetting) => void;
}): JSX.Element {
  return (
    <div class="axis-form">
      <label>
        <span>Duration axis</span>
        <select
          value={axis.scale}
          onChange={(event) =>
            setAxis({ ...axis, scale: event.currentTarget.value === "log" ? "log" : "linear" })
          }
        >
          <option value="linear">Linear</option>
          <option value="log">Logarithmic</option>
        </select>
      </label>
      <label>
        <span>Up to</span>
        <select
          value={axis.top_ms === null ? "" : String(axis.top_ms)}
          onChange={(event) => {
            const value = event.currentTarget.value;
            setAxis({ ...axis, top_ms: value === "" ? null : Number(value) });
          }}
        >
          <option value="">Automatic</option>
          {TOPS_MS.map((top) => (
            <option key={top} value={String(top)}>
              {top < 1000 ? `${top} ms` : `${top / 1000} s`}
            </option>
          ))}
        </select>
      </label>
    </div>
  );
}

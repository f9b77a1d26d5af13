// Enters: a time series of summaries. Leaves: stacked columns over time, one colour a response class; pointing at a column
// gives its numbers, a click narrows the range to it.
import type { JSX } from "preact";
import { useRef, useState } from "preact/hooks";
import type { Thresholds, Timeseries } from "../api/types";
import { timeAxis } from "../compute/axis";
import { CLASSES, classLabels } from "../compute/classes";
import { formatClock, formatCompact, formatCount } from "../compute/format";
import { type LoadBar, loadBars } from "../compute/load";
import { useSize } from "../ui/size";

const HEIGHT = 108;
const LEFT = 40;
const BOTTOM = 18;
const TOP = 6;

export function LoadChart({
  series,
  bounds,
  from_ms,
  to_ms,
}: {
  series: Timeseries;
  bounds: Thresholds;
  from_ms: number;
  to_ms: number;
}): JSX.Element {
  const frame = useRef<HTMLDivElement>(null);
  const { width } = useSize(frame);
  const [over, setOver] = useState<number | null>(null);
  const plot = Math.max(0, width - LEFT - 4);
  const bars = loadBars(series, from_ms, to_ms, Math.max(8, Math.floor(plot / 5)));
  const first_ms = bars[0]?.from_ms ?? from_ms;
  const last_ms = bars.at(-1)?.to_ms ?? to_ms;
  const axis = timeAxis(first_ms, last_ms, plot);
  const highest = niceCount(Math.max(1, ...bars.map((bar) => bar.total)));
  const base = HEIGHT - BOTTOM;
  const heightOf = (count: number) => ((base - TOP) * count) / highest;
  const shown = over === null ? undefined : bars[over];
  const total = bars.reduce((sum, bar) => sum + bar.total, 0);

  return (
    <div class="load-chart" ref={frame}>
      <svg
        width={width}
        height={HEIGHT}
        role="img"
        aria-label={`${formatCount(total)} calls over time, by response class`}
        onPointerLeave={() => setOver(null)}
      >
        {[0, highest / 2, highest].map((count) => (
          <g key={count}>
            <line
              class="grid-line"
              x1={LEFT}
              x2={width - 4}
              y1={base - heightOf(count)}
              y2={base - heightOf(count)}
            />
            <text class="axis-text axis-text-left" x={LEFT - 6} y={base - heightOf(count) + 3.5}>
              {formatCompact(count)}
            </text>
          </g>
        ))}
        {axis.ticks.map((tick) => (
          <text key={tick.at} class="axis-text" x={LEFT + tick.at} y={HEIGHT - 4}>
            {tick.label}
          </text>
        ))}
        {bars.map((bar, index) => (
          <Column
            key={bar.from_ms}
            bar={bar}
            x={LEFT + axis.toPixel(bar.from_ms)}
            width={axis.toPixel(bar.to_ms) - axis.toPixel(bar.from_ms)}
            base={base}
            heightOf={heightOf}
            over={over === index}
            point={() => setOver(index)}
          />
        ))}
      </svg>
      <p class="chart-note">
        {shown === undefined ? (
          <span class="faint">calls per {stepWords((bars[0]?.to_ms ?? 0) - (bars[0]?.from_ms ?? 0))}</span>
        ) : (
          <>
            {formatClock(shown.from_ms)} · {formatCount(shown.total)} calls
            {CLASSES.filter((name) => shown.classes[name] > 0).map((name) => (
              <span key={name}>
                {" "}
                <i class={`dot fill-${name}`} aria-hidden="true" /> {classLabels(bounds)[name]}{" "}
                {formatCompact(shown.classes[name])}
              </span>
            ))}
          </>
        )}
      </p>
    </div>
  );
}

function Column({
  bar,
  x,
  width,
  base,
  heightOf,
  over,
  point,
}: {
  bar: LoadBar;
  x: number;
  width: number;
  base: number;
  heightOf: (count: number) => number;
  over: boolean;
  point: () => void;
}): JSX.Element {
  const gap = width > 6 ? 1.5 : 0.5;
  const inset = Math.max(0, (width - 26) / 2);
  let below = base;
  return (
    <g onPointerEnter={point}>
      <rect
        class={`load-hit ${over ? "load-hit-over" : ""}`}
        x={x}
        y={TOP}
        width={width}
        height={base - TOP}
      />
      {CLASSES.filter((name) => bar.classes[name] > 0).map((name) => {
        const height = Math.max(1, heightOf(bar.classes[name]));
        below -= height;
        return (
          <rect
            key={name}
            class={`fill-${name}`}
            x={x + gap / 2 + inset}
            y={below}
            width={Math.max(1, width - gap - 2 * inset)}
            height={height}
          />
        );
      })}
    </g>
  );
}

/** 1, 2, 5 and tenfolds, but never a half call in the middle. */
export function niceCount(count: number): number {
  const power = 10 ** Math.floor(Math.log10(Math.max(1, count)));
  for (const step of [1, 2, 4, 6, 8, 10]) if (count <= step * power) return Math.max(2, step * power);
  return 10 * power;
}

function stepWords(step_ms: number): string {
  if (step_ms >= 3_600_000) return `${formatCompact(step_ms / 3_600_000)} h`;
  if (step_ms >= 60_000) return step_ms === 60_000 ? "minute" : `${formatCompact(step_ms / 60_000)} min`;
  return `${formatCompact(step_ms / 1000)} s`;
}

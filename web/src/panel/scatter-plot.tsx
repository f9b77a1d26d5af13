// Enters: points, axes and what is to be shown. Leaves: a canvas of points under an SVG of axes; a drag gives a selection,
// a click on a point opens its transaction, pointing at one shows its numbers.
import type { JSX } from "preact";
import { useEffect, useLayoutEffect, useMemo, useRef, useState } from "preact/hooks";
import type { Scatter, ScatterPoint } from "../api/types";
import { type DurationScale, durationAxis, timeAxis } from "../compute/axis";
import { formatCount, formatDuration, formatTime } from "../compute/format";
import { isSelected, type Selection, selectionFromCorners } from "../compute/selection";
import { useSize } from "../ui/size";
import { useThemeVersion } from "../ui/theme";
import type { Shown } from "./scatter";
import { drawPoints, nearestPoint } from "./scatter-canvas";

const HEIGHT = 244;
const LEFT = 52;
const RIGHT = 6;
const TOP = 10;
const BOTTOM = 20;
/** A drag shorter than this on both axes is a click. */
const CLICK_PX = 4;

interface Drag {
  x0: number;
  y0: number;
  x1: number;
  y1: number;
}

export function ScatterPlot({
  scatter,
  from_ms,
  to_ms,
  scale,
  top_ms,
  shown,
  select,
  open,
}: {
  scatter: Scatter;
  from_ms: number;
  to_ms: number;
  scale: DurationScale;
  top_ms: number;
  shown: Shown;
  select: (selection: Selection) => void;
  open: (traceId: string, spanId: string) => void;
}): JSX.Element {
  const frame = useRef<HTMLDivElement>(null);
  const canvas = useRef<HTMLCanvasElement>(null);
  const { width } = useSize(frame);
  const theme = useThemeVersion();
  const [drag, setDrag] = useState<Drag | null>(null);
  const [over, setOver] = useState<ScatterPoint | null>(null);
  const plotWidth = Math.max(0, width - LEFT - RIGHT);
  const plotHeight = HEIGHT - TOP - BOTTOM;
  const time = useMemo(() => timeAxis(from_ms, to_ms, plotWidth), [from_ms, to_ms, plotWidth]);
  const duration = useMemo(() => durationAxis(top_ms, plotHeight, scale), [top_ms, plotHeight, scale]);
  const points = useMemo(
    () => scatter.points.filter((point) => (point[2] === 1 ? shown.failed : shown.ok)),
    [scatter, shown],
  );
  const above = points.filter((point) => point[1] > top_ms).length;
  const place = (point: ScatterPoint) => ({
    x: time.toPixel(point[0]),
    y: Math.max(0, duration.toPixel(Math.min(point[1], top_ms))),
  });

  // biome-ignore lint/correctness/useExhaustiveDependencies: a new theme has other colours
  useLayoutEffect(() => {
    if (canvas.current !== null && plotWidth > 0) {
      drawPoints(canvas.current, plotWidth, plotHeight, points, place, top_ms);
    }
  }, [points, time, duration, plotWidth, plotHeight, top_ms, theme]);

  useEffect(() => {
    if (drag === null) return;
    const onKey = (event: KeyboardEvent) => event.key === "Escape" && setDrag(null);
    addEventListener("keydown", onKey);
    return () => removeEventListener("keydown", onKey);
  }, [drag]);

  const selectionOf = (area: Drag): Selection => {
    const corner = (x: number, y: number) => ({
      time_ms: time.fromPixel(x),
      duration_ms: duration.fromPixel(y),
    });
    const open_ms = duration.fromPixel(6);
    const status = shown.ok && shown.failed ? null : shown.failed ? "error" : "ok";
    return selectionFromCorners(corner(area.x0, area.y0), corner(area.x1, area.y1), open_ms, status);
  };
  const within = drag === null ? null : selectionOf(drag);
  const caught = within === null ? 0 : points.filter((point) => isSelected(point, within)).length;

  const at = (event: PointerEvent) => {
    const box = (event.currentTarget as Element).getBoundingClientRect();
    return {
      x: Math.min(Math.max(event.clientX - box.left, 0), plotWidth),
      y: Math.min(Math.max(event.clientY - box.top, 0), plotHeight),
    };
  };
  const onPointerDown = (event: PointerEvent) => {
    if (event.button !== 0) return;
    (event.currentTarget as Element).setPointerCapture(event.pointerId);
    const { x, y } = at(event);
    setOver(null);
    setDrag({ x0: x, y0: y, x1: x, y1: y });
  };
  const onPointerMove = (event: PointerEvent) => {
    const { x, y } = at(event);
    if (drag !== null) setDrag({ ...drag, x1: x, y1: y });
    else setOver(nearestPoint(points, place, x, y));
  };
  const onPointerUp = () => {
    if (drag === null) return;
    setDrag(null);
    const isClick = Math.abs(drag.x1 - drag.x0) < CLICK_PX && Math.abs(drag.y1 - drag.y0) < CLICK_PX;
    if (!isClick) {
      select(selectionOf(drag));
      return;
    }
    const point = nearestPoint(points, place, drag.x0, drag.y0);
    if (point !== null) open(point[3], point[4]);
  };

  return (
    <div class="scatter-plot" ref={frame} style={{ height: `${HEIGHT}px` }}>
      <svg class="scatter-axes" width={width} height={HEIGHT} aria-hidden="true">
        {duration.ticks.map((tick) => (
          <g key={tick.label} transform={`translate(0,${TOP + tick.at})`}>
            <line class="grid-line" x1={LEFT} x2={LEFT + plotWidth} />
            <text class="axis-text axis-text-left" x={LEFT - 6} y="3.5">
              {tick.label}
            </text>
          </g>
        ))}
        {time.ticks.map((tick) => (
          <g key={tick.at} transform={`translate(${LEFT + tick.at},0)`}>
            <line class="grid-line" y1={TOP} y2={TOP + plotHeight} />
            <text class="axis-text" y={HEIGHT - 5}>
              {tick.label}
            </text>
          </g>
        ))}
      </svg>
      <canvas
        ref={canvas}
        class="scatter-canvas"
        style={{ left: `${LEFT}px`, top: `${TOP}px`, width: `${plotWidth}px`, height: `${plotHeight}px` }}
        role="img"
        aria-label={`${formatCount(points.length)} transactions by time and duration. “Select by numbers” does by keyboard what dragging does.`}
        data-points={points.length}
        onPointerDown={onPointerDown}
        onPointerMove={onPointerMove}
        onPointerUp={onPointerUp}
        onPointerCancel={() => setDrag(null)}
        onPointerLeave={() => setOver(null)}
      />
      {drag !== null && (
        <div
          class="scatter-rect"
          style={{
            left: `${LEFT + Math.min(drag.x0, drag.x1)}px`,
            top: `${TOP + Math.min(drag.y0, drag.y1)}px`,
            width: `${Math.abs(drag.x1 - drag.x0)}px`,
            height: `${Math.abs(drag.y1 - drag.y0)}px`,
          }}
        >
          <span class="scatter-caught">{formatCount(caught)}</span>
        </div>
      )}
      {over !== null && drag === null && (
        <div
          class={`scatter-tip ${place(over).x > plotWidth / 2 ? "scatter-tip-left" : ""}`}
          style={{ left: `${LEFT + place(over).x}px`, top: `${TOP + place(over).y}px` }}
        >
          <b class={over[2] === 1 ? "bad" : ""}>{formatDuration(over[1])}</b> {formatTime(over[0])}
        </div>
      )}
      {above > 0 && (
        <span class="scatter-above" style={{ top: `${TOP + 2}px` }}>
          ▲ {formatCount(above)} above {formatDuration(top_ms)}
        </span>
      )}
    </div>
  );
}

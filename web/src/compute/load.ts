// Enters: a time series of response summaries. Leaves: bars of classes over time, gaps as empty bars, never more bars
// than fit: neighbouring steps are added up.
import type { Timeseries } from "../api/types";
import { addClasses, CLASSES, type ResponseClass } from "./classes";

export interface LoadBar {
  from_ms: number;
  to_ms: number;
  classes: Record<ResponseClass, number>;
  total: number;
}

export function loadBars(series: Timeseries, from_ms: number, to_ms: number, mostBars: number): LoadBar[] {
  const step = series.step_ms;
  if (step <= 0 || to_ms <= from_ms || mostBars < 1) return [];
  const steps = Math.ceil(to_ms / step) - Math.floor(from_ms / step);
  const width = step * Math.max(1, Math.ceil(steps / mostBars));
  const first = Math.floor(from_ms / width) * width;
  const bars: LoadBar[] = [];
  for (let start = first; start < to_ms; start += width) {
    const within = series.points.filter((point) => point.time_ms >= start && point.time_ms < start + width);
    const classes = addClasses(within.map((point) => point.summary));
    const total = CLASSES.reduce((sum, name) => sum + classes[name], 0);
    bars.push({ from_ms: start, to_ms: start + width, classes, total });
  }
  return bars;
}

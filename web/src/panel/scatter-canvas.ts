// Enters: points with their places. Leaves: pixels: successes as dots, failures as crosses over them (shape and colour both
// tell), what lies above the axis as small triangles at its top.
import type { ScatterPoint } from "../api/types";
import type { Point } from "../compute/layout";

/** The canvas' own `color` and `border-color` carry the two colours, so the theme decides in CSS alone. */
export function drawPoints(
  canvas: HTMLCanvasElement,
  width: number,
  height: number,
  points: ScatterPoint[],
  place: (point: ScatterPoint) => Point,
  top_ms: number,
): void {
  const ratio = globalThis.devicePixelRatio || 1;
  canvas.width = Math.round(width * ratio);
  canvas.height = Math.round(height * ratio);
  const context = canvas.getContext("2d");
  if (context === null) return;
  context.scale(ratio, ratio);
  context.clearRect(0, 0, width, height);
  const style = getComputedStyle(canvas);
  const crowded = points.length > 4000;

  context.fillStyle = style.color;
  context.globalAlpha = crowded ? 0.4 : 0.72;
  const radius = crowded ? 1.4 : 2;
  for (const point of points) {
    if (point[2] === 1) continue;
    const { x, y } = place(point);
    context.beginPath();
    if (point[1] > top_ms) triangle(context, x);
    else context.arc(x, y, radius, 0, 2 * Math.PI);
    context.fill();
  }

  context.globalAlpha = 0.95;
  context.strokeStyle = style.borderTopColor;
  context.fillStyle = style.borderTopColor;
  context.lineWidth = 1.6;
  const arm = 2.8;
  for (const point of points) {
    if (point[2] === 0) continue;
    const { x, y } = place(point);
    context.beginPath();
    if (point[1] > top_ms) {
      triangle(context, x);
      context.fill();
      continue;
    }
    context.moveTo(x - arm, y - arm);
    context.lineTo(x + arm, y + arm);
    context.moveTo(x + arm, y - arm);
    context.lineTo(x - arm, y + arm);
    context.stroke();
  }
}

function triangle(context: CanvasRenderingContext2D, x: number): void {
  context.moveTo(x, 0);
  context.lineTo(x + 4, 6.5);
  context.lineTo(x - 4, 6.5);
}

const REACH_PX = 7;

/** The point nearest to a place, no further than a fingertip's precision; null when there is none. */
export function nearestPoint(
  points: ScatterPoint[],
  place: (point: ScatterPoint) => Point,
  x: number,
  y: number,
): ScatterPoint | null {
  let best: ScatterPoint | null = null;
  let bestDistance = REACH_PX;
  for (const point of points) {
    const at = place(point);
    const distance = Math.hypot(at.x - x, at.y - y);
    // An equally near failure wins: it is drawn on top.
    if (distance < bestDistance || (distance === bestDistance && point[2] === 1)) {
      best = point;
      bestDistance = distance;
    }
  }
  return best;
}

// Enters: an SVG element and the size of the drawing inside it. Leaves: its transform: wheel, drag and pinch move it, showAll
// fits it in; it fits itself in until the user has moved it.
import { select } from "d3-selection";
import { zoom as makeZoom, type ZoomBehavior, zoomIdentity } from "d3-zoom";
import type { RefObject } from "preact";
import { useCallback, useEffect, useRef, useState } from "preact/hooks";
import type { Point } from "../compute/layout";
import type { Size } from "../ui/size";

export interface Zoom {
  transform: string;
  showAll: () => void;
  by: (factor: number) => void;
  /** Brings a point of the drawing into view, for the keyboard. */
  reveal: (x: number, y: number) => void;
}

const LARGEST = 2.5;
const SMALLEST = 0.06;

/** A large map that fits is a map nobody can read (sooner on a phone): start readable instead, around what is selected. */
const READABLE = 0.68;
const NARROW_PX = 600;
const STILL_READABLE_WIDE = 0.42;

export function starting(
  view: Size,
  drawing: Size,
  focus: Point | null,
): { k: number; x: number; y: number } {
  const all = fitting(view, drawing);
  const enough = view.width < NARROW_PX ? READABLE : STILL_READABLE_WIDE;
  if (all.k >= enough || focus === null) return all;
  const within = (middle: number, size: number, space: number) =>
    Math.min(12, Math.max(space - size * READABLE - 12, space / 2 - middle * READABLE));
  const centred = (space: number, size: number) => (space - size * READABLE) / 2;
  const wide = drawing.width * READABLE > view.width - 24;
  const tall = drawing.height * READABLE > view.height - 24;
  return {
    k: READABLE,
    x: wide ? within(focus.x, drawing.width, view.width) : centred(view.width, drawing.width),
    y: tall ? within(focus.y, drawing.height, view.height) : centred(view.height, drawing.height),
  };
}

/** The transform that shows all of the drawing in the middle of the view, never larger than 1.15. */
export function fitting(view: Size, drawing: Size): { k: number; x: number; y: number } {
  if (view.width === 0 || drawing.width === 0 || drawing.height === 0) return { k: 1, x: 0, y: 0 };
  const wanted = Math.min((view.width - 24) / drawing.width, (view.height - 24) / drawing.height);
  const k = Math.max(SMALLEST, Math.min(1.15, wanted));
  return { k, x: (view.width - drawing.width * k) / 2, y: (view.height - drawing.height * k) / 2 };
}

export function useZoom(
  element: RefObject<SVGSVGElement | null>,
  view: Size,
  drawing: Size,
  focus: Point | null,
): Zoom {
  const [transform, setTransform] = useState({ k: 1, x: 0, y: 0 });
  const behaviour = useRef<ZoomBehavior<SVGSVGElement, unknown> | null>(null);
  const touched = useRef(false);
  const focusAtStart = useRef(focus);
  focusAtStart.current = focus;

  useEffect(() => {
    const node = element.current;
    if (node === null) return;
    const zoom = makeZoom<SVGSVGElement, unknown>()
      .scaleExtent([SMALLEST, LARGEST])
      .on("zoom", (event) => {
        if (event.sourceEvent !== null) touched.current = true;
        setTransform({ k: event.transform.k, x: event.transform.x, y: event.transform.y });
      });
    behaviour.current = zoom;
    select(node).call(zoom).on("dblclick.zoom", null);
    return () => {
      select(node).on(".zoom", null);
    };
  }, [element]);

  const move = useCallback(
    (to: { k: number; x: number; y: number }) => {
      if (element.current === null || behaviour.current === null) return;
      behaviour.current.transform(select(element.current), zoomIdentity.translate(to.x, to.y).scale(to.k));
    },
    [element],
  );

  const showAll = useCallback(() => {
    touched.current = true;
    move(fitting(view, drawing));
  }, [move, view, drawing]);

  useEffect(() => {
    if (!touched.current) move(starting(view, drawing, focusAtStart.current));
  }, [move, view, drawing]);

  const by = (factor: number) => {
    if (element.current === null || behaviour.current === null) return;
    touched.current = true;
    behaviour.current.scaleBy(select(element.current), factor);
  };

  const reveal = (x: number, y: number) => {
    const px = x * transform.k + transform.x;
    const py = y * transform.k + transform.y;
    const margin = 50;
    if (px >= margin && py >= margin && px <= view.width - margin && py <= view.height - margin) return;
    move({ k: transform.k, x: view.width / 2 - x * transform.k, y: view.height / 2 - y * transform.k });
  };

  return {
    transform: `translate(${transform.x},${transform.y}) scale(${transform.k})`,
    showAll,
    by,
    reveal,
  };
}

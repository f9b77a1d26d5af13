// Enters: a scrolling element, the number of rows and their one fixed height. Leaves: the slice of rows worth drawing and
// the heights of what is left out above and below, so that a trace of ten thousand spans scrolls like one of ten.
import type { RefObject } from "preact";
import { useLayoutEffect, useState } from "preact/hooks";

export interface RowSlice {
  first: number;
  /** One past the last row drawn. */
  end: number;
  above_px: number;
  below_px: number;
}

const MARGIN_ROWS = 12;

export function sliceRows(
  scrollTop_px: number,
  viewHeight_px: number,
  rowHeight_px: number,
  count: number,
): RowSlice {
  const first = Math.min(Math.max(0, Math.floor(scrollTop_px / rowHeight_px) - MARGIN_ROWS), count);
  const end = Math.min(count, Math.ceil((scrollTop_px + viewHeight_px) / rowHeight_px) + MARGIN_ROWS);
  return { first, end, above_px: first * rowHeight_px, below_px: Math.max(0, count - end) * rowHeight_px };
}

export function useRows(
  scroller: RefObject<HTMLElement | null>,
  count: number,
  rowHeight_px: number,
): RowSlice {
  const [view, setView] = useState({ top: 0, height: 900 });
  useLayoutEffect(() => {
    const node = scroller.current;
    if (node === null) return;
    const take = () => setView({ top: node.scrollTop, height: node.clientHeight || 900 });
    take();
    node.addEventListener("scroll", take, { passive: true });
    const observer = new ResizeObserver(take);
    observer.observe(node);
    return () => {
      node.removeEventListener("scroll", take);
      observer.disconnect();
    };
  }, [scroller]);
  return sliceRows(view.top, view.height, rowHeight_px, count);
}

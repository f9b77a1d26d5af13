// Enters: a key pressed on a row of a tree. Leaves: which row gets the focus, what folds, what opens: the tree grid pattern
// that call tree and timeline share.
import type { RefObject } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import type { TreeRow } from "../compute/tree";

export interface TreeKeys {
  /** The one row that Tab reaches. */
  tabStop: string | null;
  onKeyDown: (event: KeyboardEvent) => void;
  onFocus: (spanId: string) => void;
}

export function useTreeKeys(
  scroller: RefObject<HTMLElement | null>,
  rows: TreeRow[],
  rowHeight_px: number,
  fold: (id: string, isFolded: boolean) => void,
  open: (id: string | null) => void,
): TreeKeys {
  const [focused, setFocused] = useState<string | null>(null);
  const wanted = useRef<string | null>(null);
  const tabStop = rows.some((row) => row.span.span_id === focused)
    ? focused
    : (rows[0]?.span.span_id ?? null);

  // The row may be drawn only after scrolling to it.
  useEffect(() => {
    if (wanted.current === null) return;
    const row = scroller.current?.querySelector<HTMLElement>(`[data-span="${CSS.escape(wanted.current)}"]`);
    if (row === null || row === undefined) return;
    wanted.current = null;
    row.focus({ preventScroll: true });
  });

  const focusRow = (index: number) => {
    const row = rows[Math.min(Math.max(index, 0), rows.length - 1)];
    const node = scroller.current;
    if (row === undefined || node === null) return;
    const at = Math.max(0, rows.indexOf(row)) * rowHeight_px;
    const head_px = rowHeight_px;
    if (at < node.scrollTop) node.scrollTop = at;
    else if (at + rowHeight_px + head_px > node.scrollTop + node.clientHeight) {
      node.scrollTop = at + rowHeight_px + head_px - node.clientHeight;
    }
    wanted.current = row.span.span_id;
    setFocused(row.span.span_id);
  };

  const onKeyDown = (event: KeyboardEvent) => {
    const id = (event.target as Element).closest<HTMLElement>("[data-span]")?.dataset.span;
    const index = rows.findIndex((row) => row.span.span_id === id);
    const row = rows[index];
    if (row === undefined) return;
    switch (event.key) {
      case "ArrowDown":
        focusRow(index + 1);
        break;
      case "ArrowUp":
        focusRow(index - 1);
        break;
      case "Home":
        focusRow(0);
        break;
      case "End":
        focusRow(rows.length - 1);
        break;
      case "ArrowRight":
        if (row.hasChildren && row.folded) fold(row.span.span_id, false);
        else if (row.hasChildren) focusRow(index + 1);
        break;
      case "ArrowLeft":
        if (row.hasChildren && !row.folded) fold(row.span.span_id, true);
        else focusRow(parentIndex(rows, index));
        break;
      case "Enter":
      case " ":
        open(row.span.span_id);
        break;
      case "Escape":
        open(null);
        break;
      default:
        return;
    }
    event.preventDefault();
  };

  return { tabStop, onKeyDown, onFocus: setFocused };
}

function parentIndex(rows: TreeRow[], index: number): number {
  const depth = rows[index]?.span.depth ?? 0;
  for (let above = index - 1; above >= 0; above -= 1) {
    if ((rows[above]?.span.depth ?? 0) < depth) return above;
  }
  return index;
}

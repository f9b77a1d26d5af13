// Enters: the chosen range. Leaves: one from/to for every part of the page, so that all figures are of the same moment;
// moves on by itself in live mode while the page is seen, and on demand.
import { useCallback, useEffect, useState } from "preact/hooks";
import { type Range, refreshEvery_ms, resolveRange } from "./address";

export interface Clock {
  from_ms: number;
  to_ms: number;
  /** Take a range that ends now to the present. */
  refresh: () => void;
}

/** Whole seconds: two parts of the page that ask within one second ask for the same range. */
function wholeSecond(): number {
  return Math.ceil(Date.now() / 1000) * 1000;
}

export function useClock(range: Range): Clock {
  const [now_ms, setNow] = useState(wholeSecond);
  const refresh = useCallback(() => setNow(wholeSecond()), []);
  const every_ms = refreshEvery_ms(range);
  const key = JSON.stringify(range);

  // biome-ignore lint/correctness/useExhaustiveDependencies: a newly chosen range starts at the present
  useEffect(refresh, [key, refresh]);

  useEffect(() => {
    if (every_ms === null) return;
    const tick = () => {
      if (document.visibilityState === "visible") refresh();
    };
    const timer = setInterval(tick, every_ms);
    document.addEventListener("visibilitychange", tick);
    return () => {
      clearInterval(timer);
      document.removeEventListener("visibilitychange", tick);
    };
  }, [every_ms, refresh]);

  return { ...resolveRange(range, now_ms), refresh };
}

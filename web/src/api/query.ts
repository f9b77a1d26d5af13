// Enters: a request path (null: nothing to ask yet) and the subject it is about. Leaves: the newest answer and its state.
// A change of subject aborts and clears; a change of range on the same subject keeps the old answer on the screen until
// the new one is there, and never aborts a running request (a slow collector would otherwise never answer a live page).
import { useCallback, useEffect, useRef, useState } from "preact/hooks";
import { ApiError, getJson } from "./client";

export interface Query<T> {
  /** The newest answer for this subject; may be older than the range asked for while `busy`. */
  data: T | null;
  /** Why the newest request failed; `data` may still hold the answer before it. */
  error: ApiError | null;
  busy: boolean;
  retry: () => void;
}

interface State<T> {
  subject: string | null;
  data: T | null;
  error: ApiError | null;
  busy: boolean;
}

export function useQuery<T>(path: string | null, subject: string | null): Query<T> {
  const [state, setState] = useState<State<T>>({ subject, data: null, error: null, busy: path !== null });
  const wanted = useRef<string | null>(null);
  const running = useRef<AbortController | null>(null);
  const subjectNow = useRef<string | null>(null);

  const run = useCallback(async () => {
    const asked = wanted.current;
    const about = subjectNow.current;
    if (asked === null || running.current !== null) return;
    const controller = new AbortController();
    running.current = controller;
    setState((old) =>
      old.subject === about
        ? { ...old, busy: true }
        : { subject: about, data: null, error: null, busy: true },
    );
    let next: Partial<State<T>>;
    try {
      next = { data: await getJson<T>(asked, controller.signal), error: null };
    } catch (cause) {
      if (controller.signal.aborted) return;
      next = { error: cause instanceof ApiError ? cause : new ApiError("page", String(cause), 0) };
    }
    if (controller.signal.aborted) return;
    running.current = null;
    const again = wanted.current !== asked;
    setState((old) => ({ ...old, ...next, subject: about, busy: again }));
    if (again) void run();
  }, []);

  useEffect(() => {
    if (subjectNow.current !== subject || path === null) {
      running.current?.abort();
      running.current = null;
    }
    subjectNow.current = subject;
    wanted.current = path;
    if (path === null) setState({ subject, data: null, error: null, busy: false });
    else void run();
  }, [path, subject, run]);

  useEffect(
    () => () => {
      running.current?.abort();
      running.current = null;
      wanted.current = null;
    },
    [],
  );

  const current = state.subject === subject;
  return {
    data: current ? state.data : null,
    error: current ? state.error : null,
    busy: current ? state.busy : path !== null,
    retry: run,
  };
}

// Enters: what is known about a request that has nothing to show yet. Leaves: the page's three other states, empty,
// loading and failed, in the same voice everywhere.
import type { ComponentChildren, JSX } from "preact";
import type { ApiError } from "../api/client";
import { Icon } from "./icons";

/** Nothing there, and what to do about it. */
export function Empty({ title, children }: { title: string; children?: ComponentChildren }): JSX.Element {
  return (
    <div class="notice" data-state="empty">
      <p class="notice-title">{title}</p>
      {children !== undefined && <div class="notice-text">{children}</div>}
    </div>
  );
}

/** It went wrong: the API's own words, and another try. */
export function Failed({
  error,
  retry,
  what,
}: {
  error: ApiError;
  retry: () => void;
  what: string;
}): JSX.Element {
  return (
    <div class="notice notice-failed" role="alert" data-state="failed">
      <p class="notice-title">
        <Icon name="warning" /> {what} could not be loaded
      </p>
      <p class="notice-text">{error.message}</p>
      <p class="notice-code">
        {error.code}
        {error.status > 0 && ` · status ${error.status}`}
      </p>
      <button type="button" class="button" onClick={retry}>
        <Icon name="refresh" size={14} /> Try again
      </button>
    </div>
  );
}

/** Over an older answer that is still shown: it is old, and why. */
export function Stale({ error, retry }: { error: ApiError; retry: () => void }): JSX.Element {
  return (
    <div class="stale" role="status">
      <Icon name="warning" size={14} />
      <span>Not refreshed: {error.message}</span>
      <button type="button" class="link-button" onClick={retry}>
        Try again
      </button>
    </div>
  );
}

/** Grey shapes of what is coming, `lines` of them. */
export function Skeleton({ lines = 3, label }: { lines?: number; label: string }): JSX.Element {
  return (
    <div class="skeleton" role="status" data-state="loading">
      <span class="visually-hidden">{label} …</span>
      {Array.from({ length: lines }, (_, line) => line).map((line) => (
        <span key={line} class={`skeleton-line skeleton-line-${line % 3}`} />
      ))}
    </div>
  );
}

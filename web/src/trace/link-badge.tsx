// Enters: a span's link. Leaves: how its parent was found and how sure that is, as a small badge: a solid frame is exact, a
// dashed one inferred (with its probability), none is said in words.
import type { JSX } from "preact";
import type { Link } from "../api/types";
import { formatShare } from "../compute/format";

const METHOD_WORDS: Record<Link["method"], string> = {
  header: "an id the applications pass in a header",
  tcp: "the two ends of one connection",
  thread: "the thread that served the request",
  goroutine: "the goroutine that served the request",
  task: "the task that served the request",
  handoff: "work handed from thread to thread",
  inference: "order and timing of the requests around it",
  otlp: "the application's own instrumentation",
  none: "nothing",
};

/** A whole sentence, for tooltips, the drawer and screen readers. */
export function linkWords(link: Link, isRoot: boolean): string {
  if (isRoot && link.confidence === "none") return "The start of the trace: it has no parent.";
  if (link.confidence === "none") return "No parent could be named with confidence.";
  const by = METHOD_WORDS[link.method];
  if (link.confidence === "exact") return `Parent found by ${by}: exact.`;
  const sure = link.probability === null ? "" : `, ${formatShare(link.probability)} likely`;
  return `Parent inferred from ${by}${sure}.`;
}

export function LinkBadge({ link, isRoot }: { link: Link; isRoot: boolean }): JSX.Element {
  const words = linkWords(link, isRoot);
  const text =
    link.confidence === "none"
      ? isRoot
        ? "root"
        : "no link"
      : link.confidence === "inferred" && link.probability !== null
        ? `${link.method} ${formatShare(link.probability)}`
        : link.method;
  const look = link.confidence === "none" && isRoot ? "root" : link.confidence;
  return (
    <span class={`badge badge-${look}`} title={words} data-confidence={link.confidence}>
      {text}
      <span class="visually-hidden">. {words}</span>
    </span>
  );
}

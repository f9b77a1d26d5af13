// Enters: a response summary. Leaves: Pinpoint's five columns, each with its count and share.
import type { JSX } from "preact";
import type { Summary, Thresholds } from "../api/types";
import { classLabels, classShares, classWords } from "../compute/classes";
import { formatCompact, formatCount, formatShare } from "../compute/format";

export function SummaryChart({ summary, bounds }: { summary: Summary; bounds: Thresholds }): JSX.Element {
  const labels = classLabels(bounds);
  const words = classWords(bounds);
  const shares = classShares(summary);
  const highest = Math.max(...shares.map((piece) => piece.share), 0);
  return (
    <ul class="summary-chart">
      {shares.map((piece) => (
        <li
          key={piece.name}
          data-class={piece.name}
          data-count={piece.count}
          class={piece.count === 0 ? "summary-none" : ""}
          title={`${formatCount(piece.count)} ${words[piece.name]}`}
        >
          <span class="summary-count">{formatCompact(piece.count)}</span>
          <span class="summary-share">{formatShare(piece.share)}</span>
          <span class="summary-column" aria-hidden="true">
            <span
              class={`summary-bar fill-${piece.name}`}
              style={{ height: piece.count === 0 ? "0" : `max(2px, ${(piece.share / highest) * 100}%)` }}
            />
          </span>
          <span class="summary-label">{labels[piece.name]}</span>
          <span class="visually-hidden">({words[piece.name]})</span>
        </li>
      ))}
    </ul>
  );
}

// Enters: a response summary. Leaves: Pinpoint's five columns, each with its count and share.
import type { JSX } from "preact";
import type { Summary } from "../api/types";
import { CLASS_LABELS, CLASS_WORDS, classShares } from "../compute/classes";
import { formatCompact, formatCount, formatShare } from "../compute/format";

export function SummaryChart({ summary }: { summary: Summary }): JSX.Element {
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
          title={`${formatCount(piece.count)} ${CLASS_WORDS[piece.name]}`}
        >
          <span class="summary-count">{formatCompact(piece.count)}</span>
          <span class="summary-share">{formatShare(piece.share)}</span>
          <span class="summary-column" aria-hidden="true">
            <span
              class={`summary-bar fill-${piece.name}`}
              style={{ height: piece.count === 0 ? "0" : `max(2px, ${(piece.share / highest) * 100}%)` }}
            />
          </span>
          <span class="summary-label">{CLASS_LABELS[piece.name]}</span>
          <span class="visually-hidden">({CLASS_WORDS[piece.name]})</span>
        </li>
      ))}
    </ul>
  );
}

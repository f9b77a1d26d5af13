// Enters: transactions. Leaves: a table of them: arrow keys go from row to row, Enter opens, failed ones are marked.
import type { JSX } from "preact";
import { useEffect, useRef } from "preact/hooks";
import type { Transaction } from "../api/types";
import { formatDate, formatMs, formatTime } from "../compute/format";
import { spanDetail } from "../compute/tree";
import type { SortKey } from "../state/address";
import { Icon } from "../ui/icons";

export function TransactionTable({
  transactions,
  sort,
  order,
  openTrace,
  openSpan,
  open,
  sortBy,
  more,
}: {
  transactions: Transaction[];
  sort: SortKey;
  order: "asc" | "desc";
  openTrace: string | null;
  openSpan: string | null;
  open: (transaction: Transaction) => void;
  sortBy: (sort: SortKey) => void;
  more: (() => void) | null;
}): JSX.Element {
  const body = useRef<HTMLTableSectionElement>(null);
  const isOpen = (transaction: Transaction) =>
    transaction.trace_id === openTrace && (openSpan === null || transaction.span_id === openSpan);
  const tabStop = Math.max(0, transactions.findIndex(isOpen));
  const longest = Math.max(...transactions.map((transaction) => transaction.duration_ms), 0.001);

  // biome-ignore lint/correctness/useExhaustiveDependencies: only when another one is opened
  useEffect(() => {
    body.current?.querySelector('[aria-selected="true"]')?.scrollIntoView({ block: "nearest" });
  }, [openTrace]);

  const onKeyDown = (event: KeyboardEvent) => {
    const row = (event.target as Element).closest("tr");
    if (row === null) return;
    const index = Number(row.dataset.index);
    if (event.key === "Enter" || event.key === " ") {
      const transaction = transactions[index];
      if (transaction !== undefined) open(transaction);
    } else if (event.key === "ArrowDown") focusRow(index + 1);
    else if (event.key === "ArrowUp") focusRow(index - 1);
    else if (event.key === "Home") focusRow(0);
    else if (event.key === "End") focusRow(transactions.length - 1);
    else return;
    event.preventDefault();
  };
  const focusRow = (index: number) =>
    body.current?.querySelector<HTMLElement>(`tr[data-index="${index}"]`)?.focus();

  return (
    <div class="table-scroll">
      {/* biome-ignore lint/a11y/noNoninteractiveElementToInteractiveRole: rows are chosen, as in a grid */}
      <table class="table transaction-table" role="grid" aria-rowcount={transactions.length}>
        <thead>
          <tr>
            <SortHead name="Time" by="time" sort={sort} order={order} sortBy={sortBy} />
            <SortHead name="Exec ms" by="duration" sort={sort} order={order} sortBy={sortBy} number />
            <th>Transaction</th>
            <th class="wide-only">Status</th>
            <th class="wide-only">Service</th>
            <th class="wide-only">Instance</th>
            <th class="number wide-only">Spans</th>
            <th class="wide-only">Trace</th>
          </tr>
        </thead>
        <tbody ref={body} onKeyDown={onKeyDown}>
          {transactions.map((transaction, index) => (
            <tr
              key={transaction.span_id}
              data-index={index}
              data-trace={transaction.trace_id}
              data-span={transaction.span_id}
              class={transaction.error ? "row-failed" : ""}
              tabIndex={index === tabStop ? 0 : -1}
              aria-selected={isOpen(transaction)}
              onClick={() => open(transaction)}
            >
              <td class="time" title={formatDate(transaction.time_ms)}>
                {formatTime(transaction.time_ms)}
              </td>
              <td class="number exec">
                <span
                  class="exec-bar"
                  style={{ width: `${(transaction.duration_ms / longest) * 100}%` }}
                  aria-hidden="true"
                />
                <span class="exec-value">{formatMs(transaction.duration_ms)}</span>
              </td>
              <td class="transaction-name">
                {transaction.error && (
                  <span class="failed-mark" title="Failed">
                    <Icon name="warning" size={13} />
                    <span class="visually-hidden">Failed: </span>
                  </span>
                )}
                <span>{transaction.name}</span>{" "}
                <span class="faint">{spanDetail({ ...transaction, operation: "" })}</span>
              </td>
              <td class={`wide-only ${transaction.error ? "bad" : "faint"}`}>{transaction.status}</td>
              <td class="wide-only">{transaction.service}</td>
              <td class="wide-only faint">{transaction.instance}</td>
              <td class="number wide-only">{transaction.spans}</td>
              <td class="wide-only trace-id" title={transaction.trace_id}>
                {transaction.trace_id.slice(0, 8)}
              </td>
            </tr>
          ))}
        </tbody>
      </table>
      {more !== null && (
        <button type="button" class="button more-button" onClick={more}>
          Show more
        </button>
      )}
    </div>
  );
}

function SortHead({
  name,
  by,
  sort,
  order,
  sortBy,
  number,
}: {
  name: string;
  by: SortKey;
  sort: SortKey;
  order: "asc" | "desc";
  sortBy: (sort: SortKey) => void;
  number?: boolean;
}): JSX.Element {
  const on = sort === by;
  return (
    <th
      class={number === true ? "number" : ""}
      aria-sort={on ? (order === "asc" ? "ascending" : "descending") : "none"}
    >
      <button type="button" class="sort-button" onClick={() => sortBy(by)}>
        {name}
        <span class="sort-mark" aria-hidden="true">
          {on ? (order === "asc" ? "▲" : "▼") : ""}
        </span>
      </button>
    </th>
  );
}

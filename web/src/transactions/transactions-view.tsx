// Enters: address (selection, filters, order, open trace) and clock. Leaves: the list of exactly those transactions and,
// below it, the call tree of the one that is open.
import type { JSX } from "preact";
import { useState } from "preact/hooks";
import { requestPath } from "../api/client";
import { useQuery } from "../api/query";
import type { Transaction, Transactions } from "../api/types";
import { formatCount } from "../compute/format";
import { type Address, nodeOfService } from "../state/address";
import type { Clock } from "../state/clock";
import { useNavigation } from "../state/navigation";
import { TraceDetail } from "../trace/trace-detail";
import { Icon } from "../ui/icons";
import { Empty, Failed, Skeleton, Stale } from "../ui/notice";
import { Filters } from "./filters";
import { TransactionTable } from "./transaction-table";

const PAGE_SIZE = 100;
const MOST_ROWS = 1000;

/** What the list is asked for: the same bounds as the scatter's selection. */
export function listParams(address: Address, clock: Pick<Clock, "from_ms" | "to_ms">, limit: number) {
  const { selection } = address;
  return {
    from_ms: selection?.from_ms ?? clock.from_ms,
    to_ms: selection?.to_ms ?? clock.to_ms,
    node:
      address.node ??
      (address.edge === null && address.service !== null ? nodeOfService(address.service) : null),
    edge: address.edge,
    min_duration_ms: selection === null || selection.min_duration_ms === 0 ? null : selection.min_duration_ms,
    max_duration_ms: selection?.max_duration_ms,
    status: selection?.status,
    name: address.name,
    sort: address.sort,
    order: address.order,
    limit,
  };
}

export function TransactionsView({ clock }: { clock: Clock }): JSX.Element {
  const { address, go, refine } = useNavigation();
  // More rows are asked for as one longer page: the list stays one answer, in one order, of one moment.
  const [limit, setLimit] = useState(PAGE_SIZE);
  const params = listParams(address, clock, limit);
  const subject = JSON.stringify({
    ...params,
    limit: 0,
    sort: "",
    order: "",
    ...(address.selection ? {} : { from_ms: 0, to_ms: 0 }),
  });
  const query = useQuery<Transactions>(requestPath("transactions", params), subject);
  const list = query.data;
  const what = address.edge?.replace("->", " → ") ?? params.node;

  const open = (transaction: Transaction) => go({ trace: transaction.trace_id, span: transaction.span_id });

  return (
    <div class={`transactions ${address.trace === null ? "" : "transactions-split"}`}>
      <section class="transaction-list" aria-label="Transactions" aria-busy={query.busy}>
        <header class="list-head">
          <h1>
            Transactions
            {what !== null && (
              <>
                {" "}
                <span class="faint">of</span> {what.replaceAll("service:", "")}
              </>
            )}
          </h1>
          {list !== null && (
            <span class="list-total" data-total={list.total}>
              {formatCount(list.total)}
              {list.transactions.length < list.total &&
                ` · first ${formatCount(list.transactions.length)} shown`}
            </span>
          )}
          {(address.node !== null || address.edge !== null) && (
            <button type="button" class="button" onClick={() => go({ view: "map", trace: null, span: null })}>
              <Icon name="map" size={14} /> On the map
            </button>
          )}
        </header>
        <Filters clock={clock} />
        {query.busy && list !== null && <span class="busy-line" aria-hidden="true" />}
        {query.error !== null && list !== null && <Stale error={query.error} retry={query.retry} />}
        {list === null && query.error !== null && (
          <Failed error={query.error} retry={query.retry} what="The list" />
        )}
        {list === null && query.error === null && <Skeleton lines={8} label="Loading transactions" />}
        {list !== null && list.transactions.length === 0 && (
          <Empty title="No such transactions">
            <p>Nothing in this range passes the filters. Widen the range or clear a filter.</p>
            <p class="notice-actions">
              <button
                type="button"
                class="button"
                onClick={() => go({ selection: null, name: "", trace: null, span: null })}
              >
                Clear filters
              </button>
            </p>
          </Empty>
        )}
        {list !== null && list.transactions.length > 0 && (
          <TransactionTable
            transactions={list.transactions}
            sort={address.sort}
            order={address.order}
            openSpan={address.span}
            openTrace={address.trace}
            open={open}
            sortBy={(sort) =>
              refine({ sort, order: sort === address.sort && address.order === "desc" ? "asc" : "desc" })
            }
            more={
              list.transactions.length < list.total && limit < MOST_ROWS
                ? () => setLimit(Math.min(MOST_ROWS, limit + 3 * PAGE_SIZE))
                : null
            }
          />
        )}
      </section>
      {address.trace !== null && (
        <TraceDetail
          traceId={address.trace}
          spanId={address.span}
          close={() => go({ trace: null, span: null })}
        />
      )}
    </div>
  );
}

// Enters: the address' trace. Leaves: that trace over the whole view (a pasted id, a point clicked in the scatter).
import type { JSX } from "preact";
import { useNavigation } from "../state/navigation";
import { Empty } from "../ui/notice";
import { TraceDetail } from "./trace-detail";

export function TraceView(): JSX.Element {
  const { address, go } = useNavigation();
  if (address.trace === null) {
    return (
      <Empty title="No trace chosen">
        <p>Paste a trace id of 32 hex digits above, or choose a transaction.</p>
      </Empty>
    );
  }
  return (
    <TraceDetail
      traceId={address.trace}
      spanId={address.span}
      close={() => go({ view: "map", trace: null, span: null })}
    />
  );
}

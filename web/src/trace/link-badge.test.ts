import { expect, test } from "vitest";
import { linkWords } from "./link-badge";

test("says how the parent was found and how sure that is", () => {
  const none = { method: "none", confidence: "none", probability: null } as const;
  expect(linkWords(none, true)).toContain("start of the trace");
  expect(linkWords(none, false)).toContain("No parent");
  expect(linkWords({ method: "tcp", confidence: "exact", probability: 1 }, false)).toContain("exact");
  const inferred = linkWords({ method: "inference", confidence: "inferred", probability: 0.874 }, false);
  expect(inferred).toContain("inferred");
  expect(inferred).toContain("87% likely");
});

// Enters: a page and its collector's address. Leaves: what is shown when there is nothing, when it fails, while it loads, on a
// phone and in both themes. Failures are put between page and API by the browser, so a real collector can serve the rest.
import assert from "node:assert/strict";
import { ask, busiestService, link, settledRange } from "./api.mjs";

const PHONE = { width: 375, height: 812, touch: true };
const LONG_AGO = { from: 1_000_000_000_000, to: 1_000_000_300_000 };

function refuse(page, pattern) {
  return page.route(pattern, (route) =>
    route.fulfill({ status: 503, contentType: "application/json", body: JSON.stringify({ error: { code: "store_unavailable", message: "The store cannot be read." } }) }),
  );
}

async function noSidewaysScroll(page) {
  // Not innerWidth: a phone zooms out to show what is too wide, and innerWidth grows with it.
  const { width } = page.viewportSize();
  const content = await page.evaluate(() => document.documentElement.scrollWidth);
  assert.ok(content <= width, `the page is ${content} px wide on a ${width} px screen`);
  const outside = await page.locator("button, input, select, a").evaluateAll(
    (all, edge) =>
      all
        .filter((control) => control.closest(".segments, .skip-link, svg") === null && control.getBoundingClientRect().right > edge)
        .map((control) => control.outerHTML.slice(0, 120)),
    width,
  );
  assert.deepEqual(outside, [], "controls beyond the screen's edge");
}

export const stateTests = [
  [
    "an empty range says so and leads on",
    {},
    async (page, base) => {
      await page.goto(link(base, LONG_AGO));
      await page.getByText("No requests in this range").waitFor();
      await page.locator(".notice").getByRole("button", { name: "Last 2 days" }).click();
      await page.locator(".node").first().waitFor();
    },
  ],
  [
    "an empty list says so and its filters can be cleared",
    {},
    async (page, base) => {
      const { range } = await settledRange(base);
      await page.goto(link(base, { view: "transactions", from: range.from_ms, to: range.to_ms, name: "no such name anywhere" }));
      await page.getByText("No such transactions").waitFor();
      await page.getByRole("button", { name: "Clear filters" }).click();
      await page.locator(".transaction-table tbody tr").first().waitFor();
    },
  ],
  [
    "a failing API is quoted, and trying again recovers",
    {},
    async (page, base) => {
      const { range } = await settledRange(base);
      await refuse(page, "**/api/v1/map?**");
      await page.goto(link(base, { from: range.from_ms, to: range.to_ms }));
      await page.getByRole("alert").filter({ hasText: "The store cannot be read." }).waitFor();
      await page.getByText("store_unavailable").waitFor();
      await page.unroute("**/api/v1/map?**");
      await page.getByRole("button", { name: "Try again" }).click();
      await page.locator(".node").first().waitFor();
    },
  ],
  [
    "a collector that goes away leaves the last answer on the screen and says it is old",
    {},
    async (page, base) => {
      await settledRange(base);
      await page.goto(link(base, { range: "2d", live: "" }));
      await page.locator(".node").first().waitFor();
      await page.route("**/api/v1/**", (route) => route.abort());
      // The clock's unit is a second: only then is there anything new to ask.
      await page.waitForTimeout(1100);
      await page.getByRole("button", { name: "Refresh" }).click();
      await page.locator(".map-pane .stale", { hasText: "does not answer" }).waitFor();
      assert.ok((await page.locator(".node").count()) > 0);
    },
  ],
  [
    "an unknown trace is said to be unknown",
    {},
    async (page, base) => {
      await page.goto(link(base, { view: "trace", trace: "abcdefabcdefabcdefabcdefabcdef99" }));
      await page.getByRole("alert").waitFor();
      await page.getByRole("button", { name: "Back" }).click();
      await page.locator(".map-pane").waitFor();
    },
  ],
  [
    "a trace id pasted into the search opens its call tree",
    {},
    async (page, base) => {
      const { scatter } = await busiestService(base);
      const id = scatter.points[0][3];
      await page.goto(base);
      await page.getByRole("textbox", { name: /trace by its id/ }).fill(`00-${id.toUpperCase()}-00f067aa0ba902b7-01`);
      await page.keyboard.press("Enter");
      await page.locator(".call-tree tbody tr").first().waitFor();
      assert.equal(await page.locator(".trace-id-full").textContent(), id);
    },
  ],
  [
    "while it loads there are grey shapes, not an empty page",
    {},
    async (page, base) => {
      let answer = () => {};
      const held = new Promise((resolve) => {
        answer = resolve;
      });
      await page.route("**/api/v1/map?**", async (route) => {
        await held;
        await route.continue();
      });
      await page.goto(base);
      await page.locator('.map-pane [data-state="loading"]').waitFor();
      answer();
      await page.locator('.map-pane [data-state="loading"]').waitFor({ state: "detached" });
    },
  ],
  [
    "the timeline has the call tree's rows",
    {},
    async (page, base) => {
      const { scatter } = await busiestService(base);
      const trace = await ask(base, `traces/${scatter.points[0][3]}`);
      await page.goto(link(base, { view: "trace", trace: trace.trace_id, tab: "timeline" }));
      await page.locator(".timeline tbody tr[data-span]").first().waitFor();
      const shown = await page.locator(".timeline tbody tr[data-span]").evaluateAll((rows) => rows.map((row) => row.dataset.span));
      assert.deepEqual(shown, trace.spans.slice(0, shown.length).map((span) => span.span_id));
    },
  ],
  [
    "agents and losses are the API's, and the badge adds them up",
    {},
    async (page, base) => {
      const answer = await ask(base, "agents");
      await page.goto(link(base, { view: "agents" }));
      await page.locator('section[aria-label="Collector"]').waitFor();
      const hosts = await page.locator('section[aria-label^="Agent "] h2').allTextContents();
      assert.deepEqual(hosts, answer.agents.map((agent) => agent.host_name));
      const all = [...answer.agents.map((agent) => agent.losses), answer.collector.losses].flatMap((losses) => Object.values(losses));
      const lost = all.filter((number) => number > 0).length;
      assert.equal(await page.locator(".losses li").count(), lost);
      await page.locator(lost > 0 ? ".loss-bad" : ".loss-badge").waitFor();
    },
  ],
  [
    "a loss anywhere turns the badge loud on every view",
    {},
    async (page, base) => {
      const answer = await ask(base, "agents");
      answer.collector.losses = { ...answer.collector.losses, ingest_queue_full: 7 };
      await page.route("**/api/v1/agents", (route) => route.fulfill({ json: answer }));
      await page.goto(base);
      await page.locator(".loss-bad").waitFor();
      await page.locator(".loss-bad").click();
      await page.locator(".losses li", { hasText: "ingest queue full" }).filter({ hasText: "7" }).waitFor();
    },
  ],
  [
    "on a phone: map, panel, list, call tree and drawer, nothing wider than the screen",
    PHONE,
    async (page, base) => {
      const { node, range } = await busiestService(base);
      await page.goto(link(base, { from: range.from_ms, to: range.to_ms, node: node.id }));
      await page.locator(".node").first().waitFor();
      await noSidewaysScroll(page);
      await page.getByRole("button", { name: /^List all/ }).scrollIntoViewIfNeeded();
      await page.getByRole("button", { name: /^List all/ }).tap();
      await page.locator(".transaction-table tbody tr").first().waitFor();
      await noSidewaysScroll(page);
      await page.locator(".transaction-table tbody tr").first().tap();
      await page.locator(".call-tree tbody tr").first().waitFor();
      await noSidewaysScroll(page);
      await page.locator(".call-tree tbody tr").first().tap();
      await page.locator(".drawer").waitFor();
      await noSidewaysScroll(page);
      await page.getByRole("button", { name: "Close the span" }).tap();
      await page.getByRole("button", { name: "Close the trace" }).tap();
      await page.locator(".transaction-table tbody tr").first().waitFor();
    },
  ],
  [
    "on a phone: table, timeline and agents fit as well",
    PHONE,
    async (page, base) => {
      const { range, scatter } = await busiestService(base);
      for (const [params, shown] of [
        [{ from: range.from_ms, to: range.to_ms, map: "table" }, ".map-table tbody tr"],
        [{ view: "trace", trace: scatter.points[0][3], tab: "timeline" }, ".timeline tbody tr"],
        [{ view: "agents" }, 'section[aria-label="Collector"]'],
      ]) {
        await page.goto(link(base, params));
        await page.locator(shown).first().waitFor();
        await noSidewaysScroll(page);
      }
    },
  ],
  ...["light", "dark"].map((colorScheme) => [
    `the ${colorScheme} theme follows the system, and the page can choose another`,
    { colorScheme },
    async (page, base) => {
      await page.goto(base);
      const ground = () => page.evaluate(() => getComputedStyle(document.body).backgroundColor.match(/\d+/g).slice(0, 3).map(Number));
      const bright = (colour) => colour.reduce((sum, part) => sum + part, 0) > 382;
      assert.equal(bright(await ground()), colorScheme === "light");
      const button = page.getByRole("button", { name: /^Theme/ });
      await button.click();
      assert.equal(bright(await ground()), true, "light was chosen");
      await button.click();
      assert.equal(bright(await ground()), false, "dark was chosen");
    },
  ]),
];

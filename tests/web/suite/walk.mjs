// Enters: a page and its collector's address. Leaves: the walk of a user at night, map -> node -> scatter -> transaction -> call
// tree, with every number on the way compared with the API's.
import assert from "node:assert/strict";
import { ask, busiestService, count, link, settledRange } from "./api.mjs";

async function openNode(page, base) {
  const found = await busiestService(base);
  await page.goto(link(base, { from: found.range.from_ms, to: found.range.to_ms }));
  await page.locator(`.node[data-id="${found.node.id}"]`).click();
  await page.locator(`aside.panel[aria-label="Selected: ${found.node.id}"]`).waitFor();
  await page.locator(".scatter-canvas").waitFor();
  return found;
}

/** Drags over the part of the scatter between two shares of its width and height. */
async function drag(page, [x0, y0], [x1, y1]) {
  const canvas = page.locator(".scatter-canvas");
  await canvas.scrollIntoViewIfNeeded();
  const box = await canvas.boundingBox();
  const at = (x, y) => [box.x + x * box.width, box.y + y * box.height];
  await page.mouse.move(...at(x0, y0));
  await page.mouse.down();
  await page.mouse.move(...at((x0 + x1) / 2, (y0 + y1) / 2));
  await page.mouse.move(...at(x1, y1));
  await page.mouse.up();
  await page.locator(".transaction-list").waitFor();
}

function chosen(page) {
  const [from_ms, to_ms, min, max, status] = new URL(page.url()).searchParams.get("select").split(",");
  return { from_ms: Number(from_ms), to_ms: Number(to_ms), min: Number(min), max: max === "" ? Number.POSITIVE_INFINITY : Number(max), status };
}

function inside(point, { from_ms, to_ms, min, max, status }) {
  const [time_ms, duration_ms, error] = point;
  return time_ms >= from_ms && time_ms < to_ms && duration_ms >= min && duration_ms <= max && (status === "" || (status === "error") === (error === 1));
}

export const walkTests = [
  [
    "the map shows every node and edge with the API's counts",
    {},
    async (page, base) => {
      const { range, map } = await settledRange(base);
      await page.goto(link(base, { from: range.from_ms, to: range.to_ms }));
      await page.locator(".node").first().waitFor();
      const nodes = await page.locator(".node").evaluateAll((all) => all.map((node) => node.dataset.id));
      assert.deepEqual(nodes.sort(), map.nodes.map((node) => node.id).sort());
      const edges = await page.locator(".edge-label").evaluateAll((all) => all.map((edge) => [edge.dataset.id, edge.getAttribute("aria-label")]));
      assert.deepEqual(edges.map(([id]) => id).sort(), map.edges.map((edge) => edge.id).sort());
      for (const [id, label] of edges) {
        const edge = map.edges.find((candidate) => candidate.id === id);
        const [calls, failed] = label.match(/: ([\d,]+) calls, ([\d,]+) failed/).slice(1).map(count);
        assert.deepEqual([calls, failed], [edge.count, edge.error_count], id);
      }
    },
  ],
  [
    "a node's figures and five response classes are the API's",
    {},
    async (page, base) => {
      const { node } = await openNode(page, base);
      const figure = async (name) => (await page.locator(`[data-figure="${name}"] dd`).evaluate((dd) => dd.firstChild.textContent)).trim();
      assert.equal(count(await figure("calls")), node.summary.count);
      assert.equal(count(await figure("failed")), node.summary.error_count);
      const classes = await page.locator(".summary-chart li").evaluateAll((all) => all.map((li) => [li.dataset.class, Number(li.dataset.count)]));
      assert.deepEqual(classes, ["fast", "normal", "slow", "very_slow", "error"].map((name) => [name, node.summary[name]]));
    },
  ],
  [
    "the scatter has all points; the legend hides one kind",
    {},
    async (page, base) => {
      const { scatter } = await openNode(page, base);
      const canvas = page.locator(".scatter-canvas");
      const failures = scatter.points.filter((point) => point[2] === 1).length;
      assert.equal(Number(await canvas.getAttribute("data-points")), scatter.points.length);
      const legend = await page.locator(".legend-count").allTextContents();
      assert.deepEqual(legend.map(count), [scatter.points.length - failures, failures]);
      await page.getByRole("button", { name: /^Success/ }).click();
      await page.locator(`.scatter-canvas[data-points="${failures}"]`).waitFor();
    },
  ],
  [
    "a dragged rectangle lists exactly its points",
    {},
    async (page, base) => {
      const { node, range, scatter } = await openNode(page, base);
      await drag(page, [0.25, 0], [0.75, 1]);
      const box = chosen(page);
      const expected = scatter.points.filter((point) => inside(point, box));
      const listed = await ask(base, "transactions", { node: node.id, from_ms: box.from_ms, to_ms: box.to_ms, min_duration_ms: box.min, limit: 1000 });
      assert.equal(listed.total, expected.length, "API: list and scatter disagree");
      assert.ok(box.from_ms > range.from_ms && box.to_ms < range.to_ms, "the rectangle is narrower than the range");
      if (expected.length === 0) return;
      await page.locator(".transaction-table tbody tr").first().waitFor();
      assert.equal(Number(await page.locator(".list-total").getAttribute("data-total")), expected.length);
      const shown = await page.locator(".transaction-table tbody tr").evaluateAll((rows) => rows.map((row) => row.dataset.span));
      const known = new Set(expected.map((point) => point[4]));
      assert.equal(shown.length, Math.min(100, expected.length));
      for (const span of shown) assert.ok(known.has(span), `span ${span} lies outside the rectangle`);
    },
  ],
  [
    "a rectangle of failures lists only failed ones, marked as such",
    {},
    async (page, base) => {
      const { scatter } = await openNode(page, base);
      await page.getByRole("button", { name: /^Success/ }).click();
      await drag(page, [0, 0], [1, 1]);
      const box = chosen(page);
      assert.equal(box.status, "error");
      const expected = scatter.points.filter((point) => inside(point, box)).length;
      if (expected === 0) return page.locator('[data-state="empty"]').waitFor();
      await page.locator(".transaction-table tbody tr").first().waitFor();
      assert.equal(Number(await page.locator(".list-total").getAttribute("data-total")), expected);
      assert.equal(await page.locator(".transaction-table tbody tr.row-failed").count(), Math.min(100, expected));
    },
  ],
  [
    "a transaction opens as call tree with the API's rows and times",
    {},
    async (page, base) => {
      await openNode(page, base);
      await drag(page, [0, 0], [1, 1]);
      await page.getByRole("button", { name: "Exec ms" }).click();
      await page.locator('th[aria-sort="descending"]', { hasText: "Exec ms" }).waitFor();
      await page.locator(".transaction-table tbody tr").first().click();
      await page.locator(".call-tree tbody tr").first().waitFor();
      const id = new URL(page.url()).searchParams.get("trace");
      const trace = await ask(base, `traces/${id}`);
      assert.equal(await page.locator(".trace-id-full").textContent(), id);
      assert.equal(count(await page.locator('[data-fact="spans"] dd').textContent()), trace.span_count);
      const rows = await page.locator(".call-tree tbody tr[data-span]").evaluateAll((all) =>
        all.map((row) => ({
          span_id: row.dataset.span,
          level: Number(row.getAttribute("aria-level")),
          cells: [...row.querySelectorAll("td")].map((cell) => cell.textContent),
          link: row.querySelector("[data-confidence]").dataset.confidence,
          failed: row.classList.contains("row-failed"),
        })),
      );
      assert.ok(rows.length > 0);
      rows.forEach((row, index) => {
        const span = trace.spans[index];
        const near = (text, value) => assert.ok(Math.abs(Number(text.replaceAll(",", "")) - value) <= Math.max(0.006, value * 0.006), `${text} is not ${value}`);
        assert.equal(row.span_id, span.span_id);
        assert.equal(row.level, span.depth + 1);
        assert.ok(row.cells[0].includes(span.name));
        near(row.cells[1], span.offset_ms);
        near(row.cells[2], span.gap_ms);
        near(row.cells[3], span.duration_ms);
        near(row.cells[5], span.self_ms);
        assert.equal(row.cells[6], span.service);
        assert.equal(row.cells[7], span.instance);
        assert.equal(row.link, span.link.confidence);
        assert.equal(row.failed, span.error);
      });
    },
  ],
  [
    "an edge shows the calls on it",
    {},
    async (page, base) => {
      const { range, map } = await settledRange(base);
      const edge = [...map.edges].sort((a, b) => b.count - a.count)[0];
      await page.goto(link(base, { from: range.from_ms, to: range.to_ms }));
      await page.locator(`.edge-label[data-id="${edge.id}"]`).click();
      await page.locator(`aside.panel[aria-label="Selected: ${edge.id}"]`).waitFor();
      assert.equal(new URL(page.url()).searchParams.get("edge"), edge.id);
      const shown = await page.locator('[data-figure="calls"] dd').evaluate((dd) => dd.firstChild.textContent);
      assert.equal(count(shown), edge.count);
    },
  ],
  [
    "the address is the state: back, forward and a copied link",
    {},
    async (page, base) => {
      const { node, range } = await openNode(page, base);
      await drag(page, [0, 0], [1, 1]);
      const list = page.url();
      await page.goBack();
      await page.locator(`.node-selected[data-id="${node.id}"]`).waitFor();
      await page.goForward();
      await page.locator(".transaction-list").waitFor();
      assert.equal(page.url(), list);
      await page.goto("about:blank");
      await page.goto(list);
      await page.locator(".transaction-table tbody tr").first().waitFor();
      assert.ok(new URL(list).searchParams.get("from") === String(range.from_ms));
    },
  ],
  [
    "a picked service narrows the map to what the API says",
    {},
    async (page, base) => {
      const { range, map } = await settledRange(base);
      const { services } = await ask(base, "services", range);
      const service = services.find((one) => map.nodes.some((node) => node.id === `service:${one.name}`)) ?? services[0];
      const narrowed = await ask(base, "map", { ...range, service: service.name });
      await page.goto(link(base, { from: range.from_ms, to: range.to_ms }));
      const picker = page.getByRole("combobox", { name: "Service" });
      await picker.click();
      await picker.fill(service.name);
      await page.getByRole("option", { name: service.name }).first().click();
      await page.waitForFunction((name) => new URL(location.href).searchParams.get("service") === name, service.name);
      await page.waitForFunction((wanted) => document.querySelectorAll(".node").length === wanted, narrowed.nodes.length);
    },
  ],
  [
    "a live range moves on by itself",
    {},
    async (page, base) => {
      await page.goto(base);
      const asked = [];
      page.on("request", (request) => request.url().includes("/map?") && asked.push(request.url()));
      await page.waitForFunction(() => performance.getEntriesByType("resource").filter((entry) => entry.name.includes("/map?")).length >= 3);
      const ends = asked.map((address) => Number(new URL(address).searchParams.get("to_ms")));
      assert.ok(ends.length > 0 && ends.every((end, index) => index === 0 || end >= ends[index - 1]), "the end only moves forward");
      assert.equal(await page.locator(".live-button").getAttribute("aria-pressed"), "true");
    },
  ],
];

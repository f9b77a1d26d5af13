// Enters: a page and its collector's address. Leaves: the same walk without a mouse, and the words a screen reader hears.
import assert from "node:assert/strict";
import { busiestService, link, settledRange } from "./api.mjs";

/** What has the focus now, by class, role and name. */
function focus(page) {
  return page.evaluate(() => {
    const { className, tagName } = document.activeElement;
    return { tag: tagName.toLowerCase(), look: className.baseVal ?? className, id: document.activeElement.dataset?.id ?? null };
  });
}

async function tabTo(page, wanted) {
  for (let step = 0; step < 60; step += 1) {
    await page.keyboard.press("Tab");
    const now = await focus(page);
    if (wanted(now)) return now;
  }
  throw new Error("sixty tabs did not lead there");
}

export const keyboardTests = [
  [
    "the first tab offers to skip to the content; the map's nodes are reached by tab and arrows",
    {},
    async (page, base) => {
      const { range, map } = await settledRange(base);
      await page.goto(link(base, { from: range.from_ms, to: range.to_ms }));
      await page.locator(".node").first().waitFor();
      await page.keyboard.press("Tab");
      assert.match((await focus(page)).look, /skip-link/);
      const first = await tabTo(page, (now) => /\bnode\b/.test(now.look));
      const seen = new Set([first.id]);
      for (const key of ["ArrowRight", "ArrowRight", "ArrowRight", "ArrowDown", "ArrowUp", "ArrowLeft"]) {
        await page.keyboard.press(key);
        seen.add((await focus(page)).id);
      }
      assert.ok(seen.size >= Math.min(3, map.nodes.length), `arrows reached only ${[...seen]}`);
      const chosen = (await focus(page)).id;
      await page.keyboard.press("Enter");
      await page.locator(`.node-selected[data-id="${chosen}"]`).waitFor();
    },
  ],
  [
    "numbers instead of a dragged rectangle, arrows and Enter in list and call tree",
    {},
    async (page, base) => {
      const { node, range } = await busiestService(base);
      await page.goto(link(base, { from: range.from_ms, to: range.to_ms, node: node.id }));
      await page.locator(".scatter-canvas").waitFor();
      await page.getByRole("button", { name: "Select by numbers" }).focus();
      await page.keyboard.press("Enter");
      await page.getByRole("dialog", { name: "Select by numbers" }).waitFor();
      await page.getByLabel("At least, ms").fill("0");
      await page.keyboard.press("Enter");
      await page.locator(".transaction-table tbody tr").first().focus();
      await page.keyboard.press("ArrowDown");
      assert.equal(await page.evaluate(() => document.activeElement.dataset.index), "1");
      await page.keyboard.press("Enter");
      const first = page.locator(".call-tree tbody tr[data-span]").first();
      await first.waitFor();
      const rows = await page.locator(".call-tree tbody tr[data-span]").count();
      await first.focus();
      if (rows > 1) {
        await page.keyboard.press("ArrowLeft");
        await page.locator('.call-tree tr[aria-expanded="false"]').first().waitFor();
        assert.ok((await page.locator(".call-tree tbody tr[data-span]").count()) < rows, "folding hides rows");
        await page.keyboard.press("ArrowRight");
      }
      await page.keyboard.press("Enter");
      await page.locator(".drawer").waitFor();
      await page.keyboard.press("Escape");
      await page.locator(".drawer").waitFor({ state: "detached" });
    },
  ],
  [
    "Escape closes a popover and gives the focus back",
    {},
    async (page, base) => {
      await page.goto(base);
      const button = page.getByRole("button", { name: "From and to" });
      await button.focus();
      await page.keyboard.press("Enter");
      await page.getByRole("dialog", { name: "From and to" }).waitFor();
      await page.keyboard.press("Escape");
      await page.getByRole("dialog", { name: "From and to" }).waitFor({ state: "detached" });
      assert.equal(await button.evaluate((element) => element === document.activeElement), true);
    },
  ],
  [
    "the table says the same as the map, and every control has a name",
    {},
    async (page, base) => {
      const { range, map } = await settledRange(base);
      await page.goto(link(base, { from: range.from_ms, to: range.to_ms, map: "table" }));
      const rows = page.locator(".map-table tbody tr");
      await rows.first().waitFor();
      const nodes = map.nodes.filter((node) => node.kind !== "user").length;
      assert.equal(await rows.count(), nodes + map.edges.length);
      const nameless = await page.locator("button, a, input, select").evaluateAll((all) =>
        all.filter((control) => !(control.getAttribute("aria-label") || control.textContent.trim() || control.closest("label"))).map((control) => control.outerHTML),
      );
      assert.deepEqual(nameless, []);
    },
  ],
];

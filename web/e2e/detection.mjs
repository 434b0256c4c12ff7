// SPDX-License-Identifier: Apache-2.0
// Runs the detection test in a shell, again and again, and measures how long
// it takes until its alert is on the screen. Settings come by environment,
// the findings go to standard output as JSON.
import { spawn } from "node:child_process";
import { open, signIn } from "./browser.mjs";

const { PORTAL, PASSWORD, COMMAND, RUNS = "20", SCREENSHOTS } = process.env;
const title = "Picket detection test";

const { browser, page, problems } = await open();
const shot = async (name) => SCREENSHOTS && (await page.screenshot({ path: `${SCREENSHOTS}/${name}.png` }));
const shell = () =>
  new Promise((done, fail) => {
    const child = spawn("bash", ["-c", COMMAND], { stdio: "ignore" });
    child.on("error", fail).on("exit", done);
  });
const alerts = () => page.locator("[role=row][data-index]", { hasText: title }).count();

try {
  await signIn(page, PORTAL, "admin", PASSWORD);
  await page.goto(PORTAL + "/alerts");
  await page.getByRole("heading", { name: "Alerts" }).first().waitFor();
  const took = [];
  for (let i = 0; i < Number(RUNS); i++) {
    const before = await alerts();
    const began = performance.now();
    const running = shell();
    await page.waitForFunction(
      ([text, n]) => [...document.querySelectorAll("[role=row][data-index]")].filter((r) => r.textContent.includes(text)).length > n,
      [title, before],
      { timeout: 15_000, polling: 20 },
    );
    took.push(performance.now() - began);
    await running;
  }
  await shot("alerts");
  await page.getByRole("link", { name: new RegExp(title) }).first().click();
  await page.waitForURL(/\/alerts\/[0-9a-f]{32}/);
  await page.locator("[role=treeitem]").first().waitFor({ timeout: 15_000 });
  const tree = await page.locator("[role=treeitem]").allInnerTexts();
  await shot("alert");
  took.sort((a, b) => a - b);
  process.stdout.write(JSON.stringify({ runs: took.length, p50_ms: took[Math.floor(took.length / 2)], p95_ms: took[Math.ceil(took.length * 0.95) - 1], max_ms: took.at(-1), tree, problems }));
} catch (e) {
  await shot("failure");
  process.stderr.write(`${e} ${problems}\n`);
  process.exitCode = 1;
} finally {
  await browser.close();
}

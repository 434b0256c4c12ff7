// SPDX-License-Identifier: Apache-2.0
// Walks through the portal as an analyst would and takes a picture of each
// page; axe looks for barriers. Findings go to standard output as JSON.
import { AxeBuilder } from "@axe-core/playwright";
import { open, signIn } from "./browser.mjs";

const { PORTAL, PASSWORD, SCREENSHOTS, DEVICE, ALERT } = process.env;
const { browser, page, problems } = await open();
const barriers = [];

async function visit(name, path) {
  await page.goto(PORTAL + path);
  await page.getByRole("heading").first().waitFor();
  // Skeletons stand where data is on its way.
  await page.waitForFunction(() => !document.querySelector("[aria-busy=true], .fui-Skeleton"), null, { timeout: 5000 }).catch(() => {});
  await page.screenshot({ path: `${SCREENSHOTS}/${name}.png` });
  const found = await new AxeBuilder({ page }).withTags(["wcag2a", "wcag2aa"]).analyze();
  for (const v of found.violations) barriers.push(`${name}: ${v.id}: ${v.nodes[0].html.slice(0, 160)}`);
}

try {
  await signIn(page, PORTAL, "admin", PASSWORD);
  const pages = { dashboard: "/", alerts: "/alerts", devices: "/devices", rules: "/rules", health: "/health", settings: "/settings" };
  if (DEVICE) Object.assign(pages, { device: `/devices/${DEVICE}`, timeline: `/devices/${DEVICE}?tab=timeline` });
  if (ALERT) pages.alert = `/alerts/${ALERT}`;
  if (process.env.SETUP) await visit("setup", "/setup");
  for (const [name, path] of Object.entries(pages)) await visit(name, path);
  process.stdout.write(JSON.stringify({ pages: Object.keys(pages).length, barriers, problems }));
} catch (e) {
  process.stderr.write(`${e} ${problems}\n`);
  process.exitCode = 1;
} finally {
  await browser.close();
}

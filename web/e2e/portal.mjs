// SPDX-License-Identifier: Apache-2.0
// Walks a new server's portal as its first administrator would: signs in, sees
// the set-up complete by itself, follows the alert to its tree and timeline,
// changes it, and opens every page in two themes. Fails on accessibility
// violations and on anything the console complains about.
//
// PORTAL, PASSWORD and COMMAND (the detection test) come by environment, and
// SCREENSHOTS, a folder, when pictures are wanted.
import { AxeBuilder } from "@axe-core/playwright";
import { spawn } from "node:child_process";
import { open, signIn } from "./browser.mjs";

const { PORTAL, PASSWORD, COMMAND, SCREENSHOTS } = process.env;
const { browser, page, problems } = await open();

const shot = async (name) => SCREENSHOTS && (await page.screenshot({ path: `${SCREENSHOTS}/${name}.png` }));
const settled = async () => {
  await page.locator("h1").first().waitFor();
  await page.waitForFunction(() => !document.querySelector(".fui-Skeleton"), undefined, { timeout: 15_000 });
};
const step = (name) => process.stderr.write(`${name}\n`);

async function check(name) {
  await settled();
  await shot(name);
  const { violations } = await new AxeBuilder({ page }).analyze();
  for (const v of violations) {
    problems.push(`${name}: ${v.id}: ${v.nodes.map((n) => n.target.join(" ")).join(", ")}`);
  }
}

async function setUp() {
  await page.locator("[data-testid=setup-sensor][data-complete=true]").waitFor({ timeout: 60_000 });
  if (await page.locator("[data-testid=setup-test][data-complete=false]").count()) {
    await check("setup");
    spawn("sh", ["-c", COMMAND], { stdio: "ignore" });
    await page.locator("[data-testid=setup-test][data-complete=true]").waitFor({ timeout: 30_000 });
  }
  await page.getByRole("button", { name: "Open the portal" }).click();
  await page.waitForURL(`${PORTAL}/`);
}

async function followAlert() {
  await page.goto(`${PORTAL}/alerts`);
  const row = page.locator("[data-testid=alert-row]", { hasText: "Picket detection test" }).first();
  await row.waitFor();
  const id = await row.getAttribute("data-alert-id");
  await page.goto(`${PORTAL}/alerts/${id}`);
  const marked = page.locator("[data-testid=tree-node]", { hasText: "1 alert" }).first();
  await marked.waitFor({ timeout: 15_000 });
  await page.getByRole("button", { name: "Assign to me" }).click();
  await page.getByRole("button", { name: "Assign to me" }).waitFor({ state: "detached" });
  await marked.click();
  await page.getByText("Command line", { exact: true }).waitFor();
  const device = await page.locator('main a[href^="/devices/"]').first().getAttribute("href");
  return { alert: `/alerts/${id}`, device: device.split("?")[0] };
}

try {
  step("sign in");
  await page.goto(`${PORTAL}/`);
  await check("sign-in");
  await signIn(page, PORTAL, "admin", PASSWORD);
  await page.locator("h1", { hasText: /Set up Picket|Dashboard/ }).first().waitFor();
  if (new URL(page.url()).pathname === "/setup") {
    step("set up");
    await setUp();
  }
  step("follow the alert");
  const { alert, device } = await followAlert();
  const pages = {
    dashboard: "/", alerts: "/alerts", alert, devices: "/devices", device, timeline: `${device}?tab=timeline`, processes: `${device}?tab=timeline&types=process&q=cmd:sh`,
    users: `${device}?tab=users`, rules: "/rules", health: "/health", settings: "/settings", enrolment: "/settings?tab=enrolment", audit: "/settings?tab=audit",
  };
  for (const theme of ["light", "dark"]) {
    await page.evaluate((t) => localStorage.setItem("picket.settings", JSON.stringify({ theme: t, zone: "utc", navCollapsed: false })), theme);
    for (const [name, address] of Object.entries(pages)) {
      step(`${name}, ${theme}`);
      await page.goto(PORTAL + address);
      if (name === "timeline") {
        await page.locator("[data-testid=timeline-row]").first().waitFor();
      }
      await check(`${name}-${theme}`);
    }
  }
} catch (e) {
  await shot("failure");
  problems.push(String(e));
} finally {
  await browser.close();
}
console.log(JSON.stringify({ problems }, null, 2));
process.exitCode = problems.length > 0 ? 1 : 0;

// SPDX-License-Identifier: Apache-2.0
// What the browser tests share: Chromium of the system, a page without errors
// on its console, and signing in as a person would.
import { chromium } from "playwright-core";

const flags = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"];

/** Opens a browser with one page; problems on its console are gathered. */
export async function open() {
  const browser = await chromium.launch({ executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium", args: flags });
  const context = await browser.newContext({ viewport: { width: 1440, height: 900 } });
  const page = await context.newPage();
  const problems = [];
  page.on("console", (m) => {
    // The first question of an anonymous browser is who it is; 401 is the answer.
    if (m.type() === "error" && !(m.text().includes("401") && m.location().url.includes("/session"))) problems.push(m.text());
  });
  page.on("pageerror", (e) => problems.push(String(e)));
  return { browser, page, problems };
}

export async function signIn(page, base, user, password) {
  await page.goto(base + "/");
  await page.getByLabel("User", { exact: false }).first().fill(user);
  await page.getByLabel("Password", { exact: false }).first().fill(password);
  await page.getByRole("button", { name: "Sign in" }).click();
  await page.waitForURL((u) => !u.pathname.startsWith("/sign-in"));
}

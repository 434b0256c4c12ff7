// SPDX-License-Identifier: Apache-2.0
import { Button } from "@fluentui/react-components";
import type { QueryClient } from "@tanstack/react-query";
import { Outlet, createRootRouteWithContext, createRoute, createRouter, lazyRouteComponent, redirect } from "@tanstack/react-router";
import { sessionQuery } from "./api/queries";
import { Empty, Failed } from "./components/states";
import { formatSearch, knownParams, parseSearch } from "./search";
import { Shell } from "./shell/Shell";

interface Context {
  queryClient: QueryClient;
}

const root = createRootRouteWithContext<Context>()({
  component: Outlet,
  notFoundComponent: NotFound,
});

const signIn = createRoute({
  getParentRoute: () => root,
  path: "/sign-in",
  validateSearch: knownParams("to"),
  component: lazyRouteComponent(() => import("./pages/sign-in/SignIn"), "SignIn"),
});

/** Everything behind it needs a signed-in person. */
const signedIn = createRoute({
  getParentRoute: () => root,
  id: "signed-in",
  beforeLoad: async ({ context, location }) => {
    const session = await context.queryClient.ensureQueryData(sessionQuery);
    if (!session) {
      const to = location.href === "/" ? undefined : location.href;
      throw redirect({ to: "/sign-in", search: to ? { to } : {} });
    }
    if (!session.setupDone && location.pathname !== "/setup" && session.can.includes("settings.manage")) {
      throw redirect({ to: "/setup" });
    }
    return { session };
  },
  component: Outlet,
  errorComponent: ({ error, reset }) => <Failed what="The portal" error={error} onRetry={reset} />,
});

const setup = createRoute({
  getParentRoute: () => signedIn,
  path: "/setup",
  component: lazyRouteComponent(() => import("./pages/setup/SetUp"), "SetUp"),
});

const shell = createRoute({ getParentRoute: () => signedIn, id: "shell", component: Shell });

const dashboard = createRoute({
  getParentRoute: () => shell,
  path: "/",
  component: lazyRouteComponent(() => import("./pages/dashboard/Dashboard"), "Dashboard"),
});

const devices = createRoute({
  getParentRoute: () => shell,
  path: "/devices",
  validateSearch: knownParams("q", "os", "health", "risk", "group", "tag", "period", "sort"),
  component: lazyRouteComponent(() => import("./pages/devices/Devices"), "Devices"),
});

const device = createRoute({
  getParentRoute: () => shell,
  path: "/devices/$id",
  validateSearch: knownParams("tab", "level", "types", "q", "user", "date", "from", "to", "event", "sort"),
  component: lazyRouteComponent(() => import("./pages/device/Device"), "Device"),
});

const alerts = createRoute({
  getParentRoute: () => shell,
  path: "/alerts",
  validateSearch: knownParams("status", "severity", "category", "device", "user", "source", "assigned", "q", "period", "sort", "view", "pane"),
  component: lazyRouteComponent(() => import("./pages/alerts/Alerts"), "Alerts"),
});

const alert = createRoute({
  getParentRoute: () => shell,
  path: "/alerts/$id",
  validateSearch: knownParams("node", "manage"),
  component: lazyRouteComponent(() => import("./pages/alert/Alert"), "AlertPage"),
});

const rules = createRoute({
  getParentRoute: () => shell,
  path: "/rules",
  validateSearch: knownParams("q", "level", "rule"),
  component: lazyRouteComponent(() => import("./pages/rules/Rules"), "Rules"),
});

const settings = createRoute({
  getParentRoute: () => shell,
  path: "/settings",
  validateSearch: knownParams("tab"),
  component: lazyRouteComponent(() => import("./pages/settings/Settings"), "Settings"),
});

const health = createRoute({
  getParentRoute: () => shell,
  path: "/health",
  component: lazyRouteComponent(() => import("./pages/health/Health"), "Health"),
});

function NotFound() {
  return (
    <main>
      <h1 className="visually-hidden">Not found</h1>
      <Empty title="There is no such page" actions={<Button as="a" href="/">To the dashboard</Button>}>
        The address may be mistyped, or the thing it named is gone.
      </Empty>
    </main>
  );
}

const tree = root.addChildren([signIn, signedIn.addChildren([setup, shell.addChildren([dashboard, devices, device, alerts, alert, rules, settings, health])])]);

export function createPortalRouter(queryClient: QueryClient) {
  return createRouter({
    routeTree: tree,
    context: { queryClient },
    parseSearch,
    stringifySearch: formatSearch,
    defaultPreload: "intent",
    defaultNotFoundComponent: NotFound,
    defaultErrorComponent: ({ error, reset }) => <Failed what="This page" error={error} onRetry={reset} />,
  });
}

declare module "@tanstack/react-router" {
  interface Register {
    router: ReturnType<typeof createPortalRouter>;
  }
}

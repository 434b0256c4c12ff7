// SPDX-License-Identifier: Apache-2.0

// Every question that the portal asks the API, with the key under which its
// answer is kept, and every change it makes.
import { infiniteQueryOptions, queryOptions } from "@tanstack/react-query";
import { ApiError, body, client, setCsrf } from "./client";
import type { Alert, AlertChange, AlertFilter, Device, DeviceFilter, Page, Session, Setup, TimelineFilter } from "./types";

const pageSize = 100;
const timelinePageSize = 200;

/** The signed-in person; null when nobody is. */
export const sessionQuery = queryOptions({
  queryKey: ["session"],
  staleTime: Number.POSITIVE_INFINITY,
  queryFn: async ({ signal }): Promise<Session | null> => {
    try {
      return remember(await body(client.GET("/api/portal/session", { signal })));
    } catch (e) {
      if (e instanceof ApiError && e.status === 401) {
        return null;
      }
      throw e;
    }
  },
});

function remember(s: Session): Session {
  setCsrf(s.csrfToken);
  return s;
}

export async function signIn(user: string, password: string): Promise<Session> {
  return remember(await body(client.POST("/api/portal/session", { body: { user, password } })));
}

export async function signOut(): Promise<void> {
  await client.DELETE("/api/portal/session");
}

export async function changePassword(old: string, next: string): Promise<void> {
  await client.PUT("/api/portal/session/password", { body: { old, new: next } });
}

const nextCursor = (last: { next: string }) => last.next || undefined;

export const devicesQuery = (query: DeviceFilter) =>
  infiniteQueryOptions({
    queryKey: ["devices", query],
    queryFn: ({ pageParam, signal }): Promise<Page<Device>> => body(client.GET("/api/portal/devices", { params: { query: { ...query, cursor: pageParam, limit: pageSize } }, signal })),
    initialPageParam: "",
    getNextPageParam: nextCursor,
  });

export const alertsQuery = (query: AlertFilter) =>
  infiniteQueryOptions({
    queryKey: ["alerts", query],
    queryFn: ({ pageParam, signal }): Promise<Page<Alert>> => body(client.GET("/api/portal/alerts", { params: { query: { ...query, cursor: pageParam, limit: pageSize } }, signal })),
    initialPageParam: "",
    getNextPageParam: nextCursor,
  });

/** First alerts of a list, for tiles. */
export const topAlertsQuery = (query: AlertFilter, limit: number) =>
  queryOptions({
    queryKey: ["alerts", "top", query, limit],
    queryFn: ({ signal }): Promise<Page<Alert>> => body(client.GET("/api/portal/alerts", { params: { query: { ...query, limit } }, signal })),
  });

/** First devices of a list, for tiles. */
export const topDevicesQuery = (query: DeviceFilter, limit: number) =>
  queryOptions({
    queryKey: ["devices", "top", query, limit],
    queryFn: ({ signal }): Promise<Page<Device>> => body(client.GET("/api/portal/devices", { params: { query: { ...query, limit } }, signal })),
  });

export const deviceQuery = (id: string) =>
  queryOptions({ queryKey: ["device", id], queryFn: ({ signal }) => body(client.GET("/api/portal/devices/{id}", { params: { path: { id } }, signal })) });

export const deviceUsersQuery = (id: string) =>
  queryOptions({ queryKey: ["device", id, "users"], queryFn: ({ signal }) => body(client.GET("/api/portal/devices/{id}/users", { params: { path: { id } }, signal })) });

export const timelineQuery = (id: string, query: TimelineFilter) =>
  infiniteQueryOptions({
    queryKey: ["timeline", id, query],
    queryFn: ({ pageParam, signal }) =>
      body(client.GET("/api/portal/devices/{id}/timeline", { params: { path: { id }, query: { ...query, order: "desc", cursor: pageParam, limit: timelinePageSize } }, signal })),
    initialPageParam: "",
    getNextPageParam: nextCursor,
    staleTime: Number.POSITIVE_INFINITY,
  });

export const deviceTreeQuery = (id: string, guid: string) =>
  queryOptions({ queryKey: ["tree", id, guid], queryFn: ({ signal }) => body(client.GET("/api/portal/devices/{id}/processes/{guid}/tree", { params: { path: { id, guid } }, signal })) });

export const alertQuery = (id: string) =>
  queryOptions({ queryKey: ["alert", id], queryFn: ({ signal }) => body(client.GET("/api/portal/alerts/{id}", { params: { path: { id } }, signal })) });

export const alertTreeQuery = (id: string) =>
  queryOptions({ queryKey: ["alert", id, "tree"], queryFn: ({ signal }) => body(client.GET("/api/portal/alerts/{id}/tree", { params: { path: { id } }, signal })) });

/** Changes one alert or many. */
export async function changeAlerts(ids: readonly string[], change: AlertChange): Promise<void> {
  const [id] = ids;
  if (ids.length === 1 && id !== undefined) {
    await client.PATCH("/api/portal/alerts/{id}", { params: { path: { id } }, body: change });
  } else {
    await client.POST("/api/portal/alerts/batch", { body: { ids: [...ids], ...change } });
  }
}

export const setupQuery = queryOptions({ queryKey: ["setup"], queryFn: ({ signal }) => body(client.GET("/api/portal/setup", { signal })) });

export function saveSetup(change: { organisation?: string; retentionDays?: number; done?: boolean }): Promise<Setup> {
  return body(client.PUT("/api/portal/setup", { body: change }));
}

export const policyQuery = queryOptions({ queryKey: ["sensor-policy"], queryFn: ({ signal }) => body(client.GET("/api/portal/sensor-policy", { signal })) });

export function savePolicy(version: number, policy: Record<string, unknown>) {
  return body(client.PUT("/api/portal/sensor-policy", { body: { version, policy } }));
}

export const tokensQuery = queryOptions({ queryKey: ["enrolment-tokens"], queryFn: ({ signal }) => body(client.GET("/api/portal/enrolment-tokens", { signal })) });

export function createToken(group: string, uses: number, hours: number) {
  return body(client.POST("/api/portal/enrolment-tokens", { body: { group, uses, hours } }));
}

export async function revokeToken(id: string): Promise<void> {
  await client.DELETE("/api/portal/enrolment-tokens/{id}", { params: { path: { id } } });
}

export async function revokeDevice(id: string, reason: string): Promise<void> {
  await client.POST("/api/portal/devices/{id}/revoke", { params: { path: { id } }, body: { reason } });
}

export function changeDevice(id: string, change: { tags?: string[]; group?: string }): Promise<Device> {
  return body(client.PATCH("/api/portal/devices/{id}", { params: { path: { id } }, body: change }));
}

export const sensorHealthQuery = queryOptions({ queryKey: ["sensor-health"], queryFn: ({ signal }) => body(client.GET("/api/portal/health/sensors", { signal })) });

export const serviceHealthQuery = queryOptions({
  queryKey: ["service-health"],
  queryFn: ({ signal }) => body(client.GET("/api/portal/health/service", { signal })),
  refetchInterval: 15_000,
});

export const rulesQuery = queryOptions({ queryKey: ["rules"], queryFn: ({ signal }) => body(client.GET("/api/portal/rules", { signal })) });

export const auditQuery = infiniteQueryOptions({
  queryKey: ["audit"],
  queryFn: ({ pageParam, signal }) => body(client.GET("/api/portal/audit", { params: { query: { ...(pageParam ? { before: pageParam } : {}), limit: pageSize } }, signal })),
  initialPageParam: 0,
  getNextPageParam: (last) => last.next || undefined,
});

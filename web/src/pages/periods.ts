// SPDX-License-Identifier: Apache-2.0

/** Periods that lists can be narrowed to, as the API names them. */
export const periods = [
  { value: "1d", label: "1 day" },
  { value: "3d", label: "3 days" },
  { value: "7d", label: "7 days" },
  { value: "30d", label: "30 days" },
  { value: "180d", label: "6 months" },
] as const;

export const periodValues = periods.map((p) => p.value);

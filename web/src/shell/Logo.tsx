// SPDX-License-Identifier: Apache-2.0

/** The mark of Picket: two posts and a rail. */
export function Logo({ size = 24 }: { size?: number }) {
  return (
    <svg width={size} height={size} viewBox="0 0 32 32" aria-hidden focusable="false">
      <rect width="32" height="32" rx="7" fill="var(--colorBrandBackground)" />
      <path d="M8 25V11l3-4 3 4v3h4v-3l3-4 3 4v14h-6v-5h-4v5z" fill="var(--colorNeutralForegroundOnBrand)" />
    </svg>
  );
}

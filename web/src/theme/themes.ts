// SPDX-License-Identifier: Apache-2.0
import { type BrandVariants, type Theme, createDarkTheme, createLightTheme, teamsHighContrastTheme } from "@fluentui/react-components";

// Petrol: one hue in OKLCH, lightness chosen so that 80 on white and 110 on the
// dark background keep more than 4.5:1.
const petrol: BrandVariants = {
  10: "#00111c", 20: "#001f2b", 30: "#022e3a", 40: "#003e59", 50: "#004c67", 60: "#005a76", 70: "#006682", 80: "#007591",
  90: "#1c84a1", 100: "#3696b4", 110: "#4ba9c7", 120: "#7bb8ce", 130: "#8ecce2", 140: "#b5d8e4", 150: "#c5e8f5", 160: "#d2f5ff",
};

const fonts = {
  fontFamilyBase: "'Inter Variable', 'Segoe UI', system-ui, -apple-system, sans-serif",
  fontFamilyMonospace: "ui-monospace, 'Cascadia Code', 'SF Mono', Menlo, Consolas, 'Liberation Mono', monospace",
  fontSizeBase300: "13px",
};

/** Colours of severities and process-tree marks, beside Fluent's own tokens. */
interface Extra {
  severityHigh: string;
  severityMedium: string;
  severityLow: string;
  severityInformational: string;
  severityHighText: string;
  severityMediumText: string;
  severityLowText: string;
  severityInformationalText: string;
  pageBackground: string;
  connector: string;
  focusRow: string;
}

export type PicketTheme = Theme & Extra;

const light: PicketTheme = {
  ...createLightTheme(petrol),
  ...fonts,
  severityHigh: "#c4314b", severityMedium: "#e07b00", severityLow: "#e3b505", severityInformational: "#8a8f98",
  severityHighText: "#a4262c", severityMediumText: "#8f4a00", severityLowText: "#6b5700", severityInformationalText: "#505862",
  pageBackground: "#f5f7f8", connector: "#b4bcc4", focusRow: "#e8f4f8",
};

const darkBase = createDarkTheme(petrol);
const dark: PicketTheme = {
  ...darkBase,
  ...fonts,
  colorBrandForeground1: petrol[120], colorBrandForeground2: petrol[130], colorBrandForegroundLink: petrol[120],
  colorBrandForegroundLinkHover: petrol[130], colorBrandForegroundLinkPressed: petrol[110], colorBrandForegroundLinkSelected: petrol[120],
  severityHigh: "#e5566d", severityMedium: "#f09a3e", severityLow: "#e8c547", severityInformational: "#8e96a0",
  severityHighText: "#ff9aa8", severityMediumText: "#ffbd7a", severityLowText: "#f2d96f", severityInformationalText: "#b8c0ca",
  pageBackground: "#171a1c", connector: "#5a626b", focusRow: "#1c2f36",
};

const contrast: PicketTheme = {
  ...teamsHighContrastTheme,
  ...fonts,
  severityHigh: "#ff5c72", severityMedium: "#ffa94d", severityLow: "#ffe14d", severityInformational: "#ffffff",
  severityHighText: "#ffffff", severityMediumText: "#ffffff", severityLowText: "#ffffff", severityInformationalText: "#ffffff",
  pageBackground: "#000000", connector: "#ffffff", focusRow: "#1a1a00",
};

export const themes = { light, dark, contrast };

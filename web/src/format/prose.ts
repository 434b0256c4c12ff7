// SPDX-License-Identifier: Apache-2.0

/** Text whose lines an author broke by hand, with only the breaks that mean something: paragraphs and items of lists. */
export function unwrapped(text: string): string {
  return text.trim().replace(/[ \t]*\n[ \t]*(?!\n|[-*•] |\d+[.)] )/g, (breaks, at: number, all: string) => (all[at - 1] === "\n" ? breaks : " "));
}

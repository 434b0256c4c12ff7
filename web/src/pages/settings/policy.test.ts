// SPDX-License-Identifier: Apache-2.0
import { expect, test } from "vitest";
import { policyText, readPolicy } from "./policy";

test("a policy survives being edited", () => {
  const policy = { limits: { process: { file: { perSecond: 5, burst: 10 } } }, disabledKinds: ["dns"] };
  expect(readPolicy(policyText(policy))).toEqual({ policy });
  expect(readPolicy(policyText({}))).toEqual({ policy: {} });
  expect(readPolicy("  ")).toEqual({ policy: {} });
});

test("what is no policy is told", () => {
  for (const text of ["{", "[]", "null", "1", '"x"']) expect(readPolicy(text)).toHaveProperty("error");
});

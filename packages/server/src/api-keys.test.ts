import { expect, it } from "vitest";
import { ApiKeys } from "./api-keys.js";

const keys = new ApiKeys(["first-key", "second-key"]);

it.each(["Bearer first-key", "bearer second-key", "Bearer  first-key "])("admits %j", async (header) => {
  expect(await keys.admit(header)).toBe(true);
});

it.each([
  null,
  "",
  "Bearer",
  "Bearer ",
  "Bearer first-ke",
  "Bearer first-keyy",
  "first-key",
  "Basic first-key",
  "Bearer a b",
])("does not admit %j", async (header) => expect(await keys.admit(header)).toBe(false));

it("an empty key that somebody set admits nobody", async () => {
  expect(await new ApiKeys([""]).admit("Bearer ")).toBe(false);
});
